"""Record what timm's ResNets compute, as fixtures for the tests.

Run in an environment with torch, torchvision and timm (README.md names the versions):

    python tests/referees/record_timm.py [FOLDER]
"""

import argparse
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from draw import Shape, State, absolute_sum, image, timm_state


class Case(NamedTuple):
    """A network of timm's, its own arguments, and what it is shown."""

    seed: int
    input_shape: Shape
    arguments: dict[str, Any] | None = None


_NARROW: dict[str, Any] = {"layers": (1, 2, 1, 1), "channels": (16, 24, 32, 48), "num_classes": 10, "stem_width": 16}
_NARROW_V2: dict[str, Any] = {"layers": (1, 2, 1, 1), "channels": (64, 96, 128, 192), "num_classes": 10}

#: Both parities of height and width, but where timm's own layers ask for even ones.
CASES: dict[str, Case] = {
    "resnet50d": Case(1, (1, 65, 50, 3)),
    "seresnet50": Case(2, (1, 50, 65, 3)),
    "seresnext50_32x4d": Case(3, (1, 64, 47, 3), {"num_classes": 10}),
    "ecaresnet50d": Case(4, (1, 65, 50, 3), {"num_classes": 10}),
    "resnetblur50": Case(5, (1, 65, 82, 3), {"num_classes": 10}),
    "resnet50_gn": Case(6, (1, 50, 65, 3), {"num_classes": 10}),
    "resnetv2_50d": Case(7, (1, 65, 50, 3), {"num_classes": 10}),
    "resnetv2_50x1_bit": Case(8, (1, 50, 65, 3), {"num_classes": 10}),
    "resnetaa50d": Case(9, (1, 64, 96, 3), {"num_classes": 10}),
    "resnetrs50": Case(10, (1, 65, 50, 3), {"num_classes": 10}),
    "seresnet33ts": Case(11, (1, 65, 50, 3), {"num_classes": 10}),
    "seresnext26ts": Case(12, (1, 65, 50, 3), {"num_classes": 10}),
    "senet154": Case(13, (1, 65, 50, 3), {"layers": (1, 2, 1, 1), "num_classes": 10}),
    "resnet18d": Case(14, (1, 65, 50, 3), _NARROW),
    "resnetv2_18d": Case(15, (1, 65, 50, 3), _NARROW_V2),
    "ecaresnetlight": Case(16, (1, 65, 50, 3), {"layers": (1, 2, 1, 1), "num_classes": 10}),
    "resnetblur18": Case(17, (1, 65, 82, 3), _NARROW),
}
STAGES = {"layer4": "stage4", "stages.3": "stage4"}


def compute(model: torch.nn.Module, state: State, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run the network in float64 on float32 values, so that the recorded rounding is only the last one."""
    missing, unexpected = model.load_state_dict(
        {key: torch.from_numpy(value) for key, value in state.items()}, strict=False
    )
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    model.double()
    taps: dict[str, np.ndarray] = {"input": images}

    def tap(key: str) -> Callable[[torch.nn.Module, object, torch.Tensor], None]:
        def hook(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
            taps[key] = np.ascontiguousarray(output.permute(0, 2, 3, 1).numpy(), dtype=np.float32)

        return hook

    named = dict(model.named_modules())
    for module, key in STAGES.items():
        if module in named:
            named[module].register_forward_hook(tap(key))
    with torch.inference_mode():
        logits = model(torch.from_numpy(images).double().permute(0, 3, 1, 2))
    return {**taps, "logits": logits.numpy().astype(np.float32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    models, arrays = {}, {}
    for name, (seed, input_shape, given) in CASES.items():
        arguments = given or {}
        model = timm.create_model(name, pretrained=False, **arguments).eval()
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if "num_batches" not in key}
        blocks = sum(
            1 for key in shapes if key.endswith(("conv2.weight", "conv2_kxk.conv.weight")) and "stem" not in key
        )
        state = timm_state(shapes, blocks, seed)
        for key, value in compute(model, state, image(input_shape, seed)).items():
            if key != "input":  # drawn again from the seed
                arrays[f"{name}/{key}"] = value
        models[name] = {
            "seed": seed,
            "input_shape": input_shape,
            "arguments": arguments,
            "blocks": blocks,
            "absolute_sum": absolute_sum(state),
            "state": shapes,
        }
        print(name, float(np.abs(arrays[f"{name}/logits"]).max()), float(np.abs(arrays[f"{name}/stage4"]).max()))
    np.savez_compressed(folder / "timm.npz", **arrays)
    versions = {package: version(package) for package in ("torch", "torchvision", "timm", "numpy")}
    text = json.dumps({"versions": versions, "models": models})
    (folder / "timm.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
