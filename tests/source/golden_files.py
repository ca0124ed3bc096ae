"""Programs as they are printed, kept to be read: `python tests/source/golden_files.py` writes them anew."""

from __future__ import annotations

import importlib
from pathlib import Path
from unittest.mock import patch

import resnet_core as rn

FOLDER = Path(__file__).with_name("golden")
BACKENDS = ("torch", "keras", "flax", "numpy")

SPECS: dict[str, rn.ResNetSpec] = {
    name: rn.spec(name)
    for name in (
        "resnet18", "resnet50", "resnet152", "wide_resnet50_2", "resnext50_32x4d", "resnet50_v1", "resnet18_d2l",
        "resnet20", "resnet_v2_50",
    )
}  # fmt: skip
SPECS["resnet50_output_stride8"] = rn.spec("resnet50", output_stride=8)


def print_golden(name: str, backend: str) -> str:
    """The program; of this project's version nothing is kept."""
    with patch("resnet_core.source_text.version", return_value="0.0.0"):
        return str(importlib.import_module(f"resnet_{backend}.source").source(SPECS[name]))


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in SPECS:
        for backend in BACKENDS:
            (FOLDER / f"{name}_{backend}.py").write_text(print_golden(name, backend))


if __name__ == "__main__":
    write()
