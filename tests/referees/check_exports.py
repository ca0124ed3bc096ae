"""Load exported weights strictly in the programs that they are for, and compare what those compute.

Run in an environment with torch, torchvision, timm and transformers (README.md names the versions):

    python tests/referees/check_exports.py FOLDER

`cases.json` in the folder lists {"file", "program", "name", "arguments"}, and beside each file NAME lies NAME.npz with
`images` (batch, height, width, channels) and the `output` that is expected of them. Prints JSON: {file: error}.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification


def torchvision_model(path: Path, name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    model = getattr(torchvision.models, name)(**arguments)
    model.load_state_dict(torch.load(path, weights_only=True) if path.suffix == ".pth" else load_file(path))
    return model


def timm_model(path: Path, name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    return timm.create_model(name, checkpoint_path=str(path), **arguments)


def hf_model(path: Path, name: str, arguments: dict[str, Any]) -> torch.nn.Module:
    model, told = AutoModelForImageClassification.from_pretrained(path, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    return model


MODELS = {"torchvision": torchvision_model, "timm": timm_model, "hf": hf_model}


def main() -> None:
    folder, errors = Path(sys.argv[1]), {}
    for case in json.loads((folder / "cases.json").read_text()):
        model = MODELS[case["program"]](folder / case["file"], case["name"], case["arguments"]).eval().double()
        with np.load(folder / f"{case['file']}.npz") as arrays, torch.inference_mode():
            output = model(torch.from_numpy(arrays["images"]).double().permute(0, 3, 1, 2))
            found = getattr(output, "logits", output).numpy()
            errors[case["file"]] = float(np.abs(found - arrays["output"]).max() / np.abs(arrays["output"]).max())
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
