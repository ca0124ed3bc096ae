"""torchvision's checkpoints come in by renaming alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import resnet_core as rn
from resnet_core import WeightsError
from resnet_core.conversion.read import read_weights
from resnet_core.conversion.torchvision_names import without_prefix
from resnet_core.safetensors_file import read_safetensors


def torchvision_names(spec: rn.ResNetSpec, convs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet, written down from torchvision/models/resnet.py."""
    expansion = 4 if convs == 3 else 1
    found: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.{part}"] = (width,)
        found[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    inplanes = 64
    for layer, (planes, blocks) in enumerate(zip(spec.channels, spec.depths, strict=True), start=1):
        width = planes * spec.width_per_group // 64 * spec.groups
        for block in range(blocks):
            path = f"layer{layer}.{block}"
            out = planes * expansion
            if convs == 3:
                shapes = [(width, inplanes, 1, 1), (width, width // spec.groups, 3, 3), (out, width, 1, 1)]
            else:
                shapes = [(planes, inplanes, 3, 3), (planes, planes, 3, 3)]
            for number, shape in enumerate(shapes, start=1):
                found[f"{path}.conv{number}.weight"] = shape
                norm(f"{path}.bn{number}", shape[0])
            if block == 0 and (layer > 1 or inplanes != out):
                found[f"{path}.downsample.0.weight"] = (out, inplanes, 1, 1)
                norm(f"{path}.downsample.1", out)
            inplanes = out
    return found | {"fc.weight": (1000, inplanes), "fc.bias": (1000,)}


@pytest.mark.parametrize(
    ("name", "convs"),
    [("resnet18", 2), ("resnet34", 2), ("resnet50", 3), ("wide_resnet50_2", 3), ("resnext50_32x4d", 3)],
)
def test_names_become_the_specs_with_the_same_arrays(name: str, convs: int) -> None:
    spec = rn.spec(name)
    state_dict = {
        key: np.broadcast_to(np.float32(i), shape)
        for i, (key, shape) in enumerate(torchvision_names(spec, convs).items())
    }
    weights = rn.from_torchvision(state_dict)
    assert {key: array.shape for key, array in weights.items()} == rn.state(spec)
    # torchvision registers a block's shortcut last, as the tree does: the same order, so the same tensors.
    kept = [array for key, array in state_dict.items() if not key.endswith("num_batches_tracked")]
    for array, expected in zip((weights[key] for key in rn.state(spec)), kept, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("key", "neutral"),
    [
        ("conv1.weight", "stem.conv.weight"),
        ("bn1.running_var", "stem.norm.running_var"),
        ("layer1.0.conv1.weight", "stage1.block1.conv1.weight"),
        ("layer3.22.bn3.bias", "stage3.block23.norm3.bias"),
        ("layer2.0.downsample.0.weight", "stage2.block1.shortcut.conv.weight"),
        ("layer2.0.downsample.1.running_mean", "stage2.block1.shortcut.norm.running_mean"),
        ("fc.bias", "head.linear.bias"),
    ],
)
def test_each_kind_of_name(key: str, neutral: str) -> None:
    assert list(rn.from_torchvision({key: np.zeros(1)})) == [neutral]


@pytest.mark.parametrize(
    "key",
    ["module.conv1.weight", "layer1.0.conv1_bn.weight", "layer1.conv1.weight", "fc1.weight", "xconv1.weight", "fc"],
)
def test_another_name_is_one_clear_line(key: str) -> None:
    with pytest.raises(WeightsError) as caught:
        rn.from_torchvision({key: np.zeros(1)})
    assert str(caught.value).startswith(f"{key}: not a name of torchvision's ResNet; expected conv1, bn1, ")


def test_a_safetensors_file_of_torchvisions_is_read_with_its_counters(tmp_path: Path) -> None:
    spec = rn.spec("resnet18", depths=(1, 1, 1, 1))
    state_dict = {
        key: np.full(shape, 0.5, np.int64 if key.endswith("num_batches_tracked") else np.float32)
        for key, shape in torchvision_names(spec, 2).items()
    }
    safetensors.numpy.save_file(state_dict, tmp_path / "w.safetensors")
    weights = read_weights(tmp_path / "w.safetensors", spec)
    assert list(weights) == list(rn.state(spec))
    with pytest.raises(WeightsError, match=r"ResNet: not of resnet18: 40 missing \(.* of 102 expected tensors"):
        read_weights(tmp_path / "w.safetensors", rn.spec("resnet18"))
    with pytest.raises(WeightsError, match="without this project's metadata"):
        rn.read_weight_file(tmp_path / "w.safetensors")
    loaded, inferred = rn.load_weights(tmp_path / "w.safetensors", dtype="float64")
    assert rn.state(inferred) == rn.state(spec)
    assert {array.dtype.name for array in loaded.values()} == {"float64"}


def test_a_prefix_of_every_name_is_taken_off() -> None:
    for prefix in ("module._orig_mod.", "resnet.", "model.backbone."):
        arrays = {f"{prefix}{name}": np.zeros(1) for name in ("conv1.weight", "fc.bias")}
        assert list(without_prefix(arrays)) == ["conv1.weight", "fc.bias"]
    assert list(without_prefix({"module.a": np.zeros(1), "b": np.zeros(1)})) == ["module.a", "b"]
    assert without_prefix({}) == {}


def test_other_peoples_names_are_named(tmp_path: Path) -> None:
    arrays = {"features.0.weight": np.zeros(1, np.float32)}
    safetensors.numpy.save_file(arrays, tmp_path / "hf.safetensors")
    with pytest.raises(WeightsError, match=r"its names \(features\.0\.weight\) are not those of any of torchvision"):
        read_weights(tmp_path / "hf.safetensors", rn.spec("resnet50"))


def test_a_counter_in_a_neutral_file_is_an_unknown_tensor(tmp_path: Path) -> None:
    spec = rn.spec("resnet20", depths=(1, 1, 1))
    rn.save_weights(tmp_path / "w.safetensors", rn.initialize(spec), spec)
    arrays, metadata = read_safetensors(tmp_path / "w.safetensors")
    arrays["stem.norm.num_batches_tracked"] = np.zeros((), np.int64)
    safetensors.numpy.save_file(arrays, tmp_path / "w.safetensors", metadata)
    with pytest.raises(WeightsError, match=r"1 unknown \(stem.norm.num_batches_tracked\)"):
        rn.load_weights(tmp_path / "w.safetensors")
