"""Record what torchvision's ResNets compute, as fixtures for the tests.

Run in an environment with torch and torchvision (README.md names the versions):

    python tests/referees/record_torchvision.py [FOLDER]
"""

import argparse
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torchvision
from draw import Shape, State, absolute_sum, image, torchvision_state

# Name: (seed, residual blocks, input shape). Heights and widths of both parities, because an even
# and an odd size meet the padding of a strided layer differently.
CASES: dict[str, tuple[int, int, Shape]] = {
    "resnet18": (18, 8, (1, 66, 52, 3)),
    "resnet50": (50, 16, (1, 65, 50, 3)),
    "resnext50_32x4d": (5032, 16, (1, 64, 47, 3)),
}
TAPS = {
    "maxpool": "stem",
    "layer1": "stage1",
    "layer2": "stage2",
    "layer3": "stage3",
    "layer4": "stage4",
    "fc": "logits",
}


def build(name: str) -> torch.nn.Module:
    return torchvision.models.get_model(name, weights=None).eval()


def shapes_of(model: torch.nn.Module) -> dict[str, Shape]:
    state = model.state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if "num_batches_tracked" not in key}


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
            nhwc = output.permute(0, 2, 3, 1) if output.ndim == 4 else output
            taps[key] = np.ascontiguousarray(nhwc.numpy(), dtype=np.float32)

        return hook

    hooks = [model.get_submodule(module).register_forward_hook(tap(key)) for module, key in TAPS.items()]
    with torch.inference_mode():
        model(torch.from_numpy(images).double().permute(0, 3, 1, 2))
    for hook in hooks:
        hook.remove()
    return taps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    models = {}
    for name, (seed, blocks, input_shape) in CASES.items():
        model = build(name)
        shapes = shapes_of(model)
        state = torchvision_state(shapes, blocks, seed)
        np.savez_compressed(folder / f"torchvision_{name}.npz", **compute(model, state, image(input_shape, seed)))
        models[name] = {
            "seed": seed,
            "input_shape": input_shape,
            "blocks": blocks,
            "absolute_sum": absolute_sum(state),
            "state": shapes,
        }
    versions = {package: version(package) for package in ("torch", "torchvision", "numpy")}
    text = json.dumps({"versions": versions, "models": models})
    (folder / "torchvision.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
