"""Programs as they are printed, kept to be read: `python tests/source/golden_files.py` writes them anew."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import resnet_core as rn

FOLDER = Path(__file__).with_name("golden")
BACKENDS = ("torch", "keras", "flax", "numpy")

SPECS: dict[str, rn.ResNetSpec] = {
    name: rn.spec(name)
    for name in (
        "resnet18", "resnet50", "resnet152", "wide_resnet50_2", "resnext50_32x4d", "resnet50_v1", "resnet18_d2l",
        "resnet20", "resnet_v2_50", "flax_resnet50",
    )
}  # fmt: skip
SPECS["resnet50_output_stride8"] = rn.spec("resnet50", output_stride=8)
SPECS["resnet50d_se"] = rn.spec("resnet50", stem_type="deep", shortcut_pool="average", attention="se")
SPECS["resnetv2_50_bit"] = rn.spec(
    "resnet50", preactivation=True, norm="group", standardize_weights=True, stem_pool_padding="zeros",
    zero_init_residual=True,
)  # fmt: skip

#: Every file by its name: the network, the framework, and the recipe of one that trains.
FILES = {f"{name}_{backend}": (name, backend, "") for name in SPECS for backend in BACKENDS}
FILES |= {f"resnet20_train_{backend}": ("resnet20", backend, "cifar-2015") for backend in ("torch", "keras", "flax")}


def print_golden(file: str) -> str:
    """The program; of this project's version nothing is kept."""
    name, backend, recipe = FILES[file]
    with patch("resnet_core.source_text.version", return_value="0.0.0"):
        return rn.source(SPECS[name], backend, train=recipe or False)


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for file in FILES:
        (FOLDER / f"{file}.py").write_text(print_golden(file))


if __name__ == "__main__":
    write()
