"""Networks with an output stride for other libraries: written only where the program's dilation is this project's.

`theirs` is a network of bottlenecks as torchvision's and timm's functions build it, written by hand after their sources
(torchvision/models/resnet.py, `_make_layer`; timm/models/resnet.py, `make_blocks` and `downsample_avg`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import resnet_core as rn
from resnet_core.architecture import layer_tree
from resnet_core.conversion.convert import convert
from resnet_core.conversion.export import export_weights
from resnet_core.errors import WeightsError
from resnet_core.numerics import relative_error

SMALL: dict[str, Any] = {"depths": (1, 2, 2, 2), "channels": (4, 6, 8, 10), "block": "bottleneck", "classes": 3}
#: As deep as torchvision's function allows, whose widths are what they are.
SHALLOW: dict[str, Any] = {"depths": (1, 1, 2, 1), "channels": (64, 128, 256, 512), "classes": 3, "input_size": 32}

Pool = Callable[[torch.Tensor, int], torch.Tensor]


def unpooled(x: torch.Tensor, rate: int) -> torch.Tensor:
    return x


def dilated_mean(x: torch.Tensor, rate: int) -> torch.Tensor:
    """Of the pixels that are there, among four at the rate's distance: this project's."""
    height, width = x.shape[2:]
    padded, there = (F.pad(each, (0, rate, 0, rate)) for each in (x, torch.ones_like(x)))
    places = [(slice(y, y + height), slice(z, z + width)) for y in (0, rate) for z in (0, rate)]
    total = torch.stack([padded[:, :, rows, columns] for rows, columns in places]).sum(0)
    return total / torch.stack([there[:, :, rows, columns] for rows, columns in places]).sum(0)


def padded_mean(x: torch.Tensor, rate: int) -> torch.Tensor:
    """Of four neighbors at any rate, with zeros beyond the edge: timm's AvgPool2dSame."""
    return F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 1)


def theirs(
    spec: rn.ResNetSpec, weights: dict[str, np.ndarray], images: np.ndarray, pool: Pool, *, late: bool = True
) -> np.ndarray:
    """Logits. The first block of a stage keeps the rate before it, or with `late` false has the stage's at once."""
    own = {name: torch.from_numpy(array) for name, array in weights.items()}

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance, scale, shift = (
            own[f"{name}.{each}"] for each in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-5)

    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    x = F.conv2d(x, own["stem.conv.weight"], stride=2, padding=3)
    x = F.max_pool2d(torch.relu(normed(x, "stem.norm")), 3, 2, 1)
    reached, dilation = 4, 1
    for stage, depth in enumerate(spec.depths, start=1):
        before, stride = dilation, 1 if stage == 1 else 2
        if reached == spec.output_stride:
            dilation, stride = dilation * stride, 1
        reached *= stride
        for block in range(1, depth + 1):
            name = f"stage{stage}.block{block}"
            rate = before if block == 1 and late else dilation
            step = stride if block == 1 else 1
            y = torch.relu(normed(F.conv2d(x, own[f"{name}.conv1.weight"]), f"{name}.norm1"))
            y = F.conv2d(y, own[f"{name}.conv2.weight"], stride=step, padding=rate, dilation=rate)
            y = torch.relu(normed(y, f"{name}.norm2"))
            y = normed(F.conv2d(y, own[f"{name}.conv3.weight"]), f"{name}.norm3")
            if block == 1:
                x = pool(x, before) if dilation > 1 else x
                x = normed(F.conv2d(x, own[f"{name}.shortcut.conv.weight"], stride=step), f"{name}.shortcut.norm")
            x = torch.relu(x + y)
    return F.linear(x.mean((2, 3)), own["head.linear.weight"], own["head.linear.bias"]).numpy()


def error(spec: rn.ResNetSpec, pool: Pool, *, late: bool = True) -> float:
    weights = rn.probe_weights(spec, dtype="float64")
    images = np.random.default_rng(0).standard_normal((2, 64, 70, 3))
    model = rn.build(spec, "numpy", weights=weights, dtype="float64")
    return relative_error(
        theirs(spec, weights, images, pool, late=late), rn.load_backend("numpy").predict(model, images)
    )


@pytest.mark.parametrize("output_stride", [4, 8, 16])
def test_the_first_block_of_a_dense_stage_keeps_the_dilation_before_there_and_here(output_stride: int) -> None:
    spec = rn.spec(rn.ResNetSpec(**SMALL), output_stride=output_stride)
    assert error(spec, unpooled) < 1e-12
    assert error(spec, unpooled, late=False) > 1e-3


def test_timms_pools_of_dense_shortcuts_are_others() -> None:
    """Dilation is the definition here: every k-th pixel of the dense network is the one without an output stride."""
    spec = rn.spec(rn.ResNetSpec(**SMALL), output_stride=4, shortcut_pool="average")
    assert error(spec, dilated_mean) < 1e-12
    assert error(spec, padded_mean) > 1e-3
    dense = rn.spec(spec, output_stride=8)
    with pytest.raises(WeightsError, match='is another network then, with shortcut_pool = "average"'):
        export_weights(dense, rn.probe_weights(dense), "timm")


@pytest.mark.parametrize(
    ("format", "output_stride", "told"),
    [
        ("torchvision", 4, {"replace_stride_with_dilation": [True, True, True]}),
        ("torchvision", 8, {"replace_stride_with_dilation": [False, True, True]}),
        ("torchvision", 16, {"replace_stride_with_dilation": [False, False, True]}),
        ("timm", 8, {"output_stride": 8}),
        ("timm", 16, {"output_stride": 16}),
    ],
)
def test_an_output_stride_is_an_argument_of_the_librarys_function(
    format: str, output_stride: int, told: dict[str, Any]
) -> None:
    plain = rn.ResNetSpec(**SHALLOW, block="bottleneck")
    dense = rn.spec(plain, output_stride=output_stride)
    weights = rn.probe_weights(plain)
    exported, usual = export_weights(dense, weights, format), export_weights(plain, weights, format)
    assert (exported.chosen, usual.chosen) == (told, {})
    assert layer_tree(exported.spec) == layer_tree(dense) != layer_tree(usual.spec)
    assert exported.arrays.keys() == usual.arrays.keys()


@pytest.mark.parametrize(
    ("format", "fields", "words"),
    [
        ("torchvision", {"block": "basic"}, 'is another network then, with block = "basic"'),
        ("torchvision", {"stride_on": "1x1"}, 'stride_on is "1x1", and "3x3" in its resnet.py'),
        ("timm", {"output_stride": 4}, "output_stride is 4, and its resnet.py takes 8, 16, 32"),
        ("timm", {"antialias": "blur"}, 'is another network then, with antialias = "blur"'),
        ("timm", {"channels": (64, 128, 128, 512)}, "has no projection then in a stage of the width before"),
        ("timm", {"preactivation": True, "depths": (1,) * 5, "channels": (8, 16, 24, 32, 40)}, "has no dilation of 8"),
        ("hf", {}, "output_stride is 8, and None in its"),
    ],
)
def test_where_its_dilation_is_another_it_is_refused_by_the_field(
    format: str, fields: dict[str, Any], words: str
) -> None:
    spec = rn.ResNetSpec(**{"block": "bottleneck", "output_stride": 8, **SHALLOW, **fields})
    with pytest.raises(WeightsError) as refused:
        export_weights(spec, rn.probe_weights(spec), format)
    assert words in str(refused.value)


def test_the_certificate_says_what_torchvisions_function_has_to_be_told(tmp_path: Any) -> None:
    spec = rn.ResNetSpec(**SHALLOW, block="bottleneck", output_stride=8)
    rn.save_weights(tmp_path / "w.safetensors", rn.probe_weights(spec), spec)
    done = convert(tmp_path / "w.safetensors", tmp_path / "t.safetensors", destination_format="torchvision")
    assert "  to be told to its program: replace_stride_with_dilation = [false,true,true]" in done.told()
    assert '"to_be_told": {' in done.proof.read_text()
