"""`rn.build` and `rn.features`: native models from whatever names a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
import resnet_numpy
from resnet_core.errors import InputError, WeightsError
from resnet_core.numerics import relative_error
from resnet_core.tolerances import TOLERANCES
from resnet_core.training.reporting import EpochRecord
from resnet_core.weights import check_weights, dtype_name, rounded

SPEC = rn.spec("resnet_v2_50", channels=[4, 8], depths=[1, 1], classes=5, input_size=24)
WEIGHTS = rn.probe_weights(SPEC)
IMAGES = np.random.default_rng(0).standard_normal((2, 24, 24, 3)).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rn.save_weights(tmp_path / "weights.safetensors", WEIGHTS, SPEC)
    return tmp_path / "weights.safetensors"


def test_a_weight_file_in_the_place_of_a_spec_brings_its_weights(file: Path) -> None:
    whole = resnet_numpy.predict(rn.build(SPEC, "numpy", weights=WEIGHTS), IMAGES)
    np.testing.assert_array_equal(resnet_numpy.predict(rn.build(file, "numpy"), IMAGES), whole)
    np.testing.assert_array_equal(resnet_numpy.predict(rn.build(SPEC, "numpy", weights=file), IMAGES), whole)
    double = rn.build(file, "numpy", dtype="float64")
    assert {array.dtype.name for array in resnet_numpy.get_weights(double).values()} == {"float64"}
    assert not np.array_equal(resnet_numpy.predict(rn.build(SPEC, "numpy"), IMAGES), whole)


@pytest.mark.parametrize("given", ["weights", "file", "instead of the spec"])
def test_features_are_what_the_last_layer_reads(given: str, file: Path) -> None:
    if given == "instead of the spec":
        headless = rn.features(file, "numpy", dtype="float64")
    else:
        weights = rn.cast(WEIGHTS, "float64") if given == "weights" else file
        headless = rn.features(SPEC, "numpy", weights=weights, dtype="float64")
    vectors = resnet_numpy.predict(headless, IMAGES)
    assert vectors.shape == (2, 32)  # four times the last stage's 8 channels, a bottleneck's
    logits = resnet_numpy.predict(rn.build(file, "numpy", dtype="float64"), IMAGES)
    head = rn.cast(WEIGHTS, "float64")
    np.testing.assert_allclose(
        vectors @ head["head.linear.weight"].T + head["head.linear.bias"], logits, rtol=0, atol=1e-12
    )


def test_features_of_a_network_without_a_pool_are_a_map() -> None:
    dense = rn.features(rn.spec(SPEC, global_pool=False), "numpy", weights=WEIGHTS)
    assert resnet_numpy.predict(dense, IMAGES).ndim == 4


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsError, match="they belong to another spec"):
        rn.features("resnet20", "numpy", weights=WEIGHTS)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_numpy_has_no_half_precision(dtype: str, file: Path) -> None:
    with pytest.raises(InputError, match=rf"^dtype: received '{dtype}'; expected one of float32, float64$"):
        rn.build(file, "numpy", dtype=dtype)


@pytest.mark.parametrize("backend", ["torch", "flax"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_of_a_file_and_without_a_head(backend: str, dtype: str, file: Path) -> None:
    pytest.importorskip(backend)
    module = rn.load_backend(backend)
    weights = module.get_weights(rn.build(file, backend, dtype=dtype))
    assert {name: array.tolist() for name, array in weights.items()} == {
        name: rounded(array, dtype).tolist() for name, array in WEIGHTS.items()
    }
    truth = resnet_numpy.predict(rn.features(file, "numpy"), IMAGES)
    found = module.predict(rn.features(file, backend, dtype=dtype), IMAGES)
    assert 1e-4 < relative_error(found, truth) <= TOLERANCES["half output"][dtype]


def test_a_weight_beyond_float16_is_named() -> None:
    large = {**WEIGHTS, "stem.conv.weight": WEIGHTS["stem.conv.weight"] * 0 + np.float32(-65520)}
    line = r"^stem\.conv\.weight: holds 65520 and float16 ends at 65504; use bfloat16$"
    with pytest.raises(WeightsError, match=line):
        check_weights(large, rn.state(SPEC), "float16")
    below = {**WEIGHTS, "stem.conv.weight": WEIGHTS["stem.conv.weight"] * 0 + np.float32(65519)}
    assert check_weights(below, rn.state(SPEC), "float16")["stem.conv.weight"].max() == 65504
    assert check_weights(large, rn.state(SPEC), "bfloat16")["stem.conv.weight"].min() == -65536


def test_rounding_is_to_nearest_and_ties_to_even() -> None:
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, 0.0], np.float32)
    assert rounded(values, "bfloat16").tolist() == [1, 1 + 2**-6, 1 + 2**-7, -1, 0]
    assert rounded(np.float32([1 + 2**-11, 1 + 3 * 2**-11]), "float16").tolist() == [1, 1 + 2**-9]


def test_weights_of_a_file_follow_the_backends_own_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Keras, whose global policy says what variables are."""
    built = resnet_numpy.build
    monkeypatch.setattr(resnet_numpy, "default_dtype", lambda: "float64", raising=False)
    monkeypatch.setattr(
        resnet_numpy, "build", lambda spec, dtype=None, **named: built(spec, dtype=dtype or "float64", **named)
    )
    model = rn.build(file, "numpy")
    assert {array.dtype.name for array in resnet_numpy.get_weights(model).values()} == {"float64"}


def test_a_trained_network_is_printed_in_a_line(file: Path) -> None:
    classes = [f"class {number}" for number in range(5)]
    rn.save_weights(file, WEIGHTS, SPEC, preparation=rn.Preparation(size=(24, 24)), classes=classes)
    printed = f"<TrainedNetwork: resnet_v2_50, {len(WEIGHTS)} tensors, 5 named classes, 24x24 pictures>"
    assert repr(rn.trained_network(file)) == printed


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("float64")])
def test_a_dtype_is_a_name_or_a_frameworks_own(dtype: object) -> None:
    model = rn.build(SPEC, "numpy", dtype=dtype)
    assert {array.dtype.name for array in resnet_numpy.get_weights(model).values()} == {"float64"}


def test_pytorchs_dtypes_have_the_same_names() -> None:
    torch = pytest.importorskip("torch")
    for name in ("float32", "float64", "bfloat16", "float16"):
        assert dtype_name(getattr(torch, name)) == name


def test_what_is_no_weights_is_said_in_a_line() -> None:
    with pytest.raises(InputError, match=r"^weights: received a int; expected \{name: array\}, or a file's name$"):
        rn.build(SPEC, "numpy", weights=5)  # type: ignore[arg-type]


def test_a_spec_and_a_recipe_are_printed_by_what_is_not_their_default() -> None:
    printed = "ResNetSpec(name='resnet18', depths=(2, 2, 2, 2), channels=(64, 128, 256, 512), block='basic', classes=5)"
    assert repr(rn.spec("resnet18", classes=5)) == printed
    assert eval(printed, {"ResNetSpec": rn.ResNetSpec}) == rn.spec("resnet18", classes=5)
    assert repr(rn.recipe("d2l", epochs=2)) == (
        "Recipe(name='d2l', learning_rate=0.05, epochs=2, batch_size=256, resize=(96, 96))"
    )


def test_a_data_set_is_printed_in_a_line(tmp_path: Path) -> None:
    pictures, labels = np.zeros((6, 28, 28), np.uint8), np.arange(6) % 3
    np.savez(tmp_path / "own.npz", x_train=pictures, y_train=labels, x_test=pictures[:3], y_test=labels[:3])
    found = rn.dataset(tmp_path / "own.npz")
    assert repr(found) == "<Dataset: own, 6 training and 3 test pictures of 3 classes>"
    assert repr(found.train) == "<Split: 6 pictures of 28x28>"


def test_a_runs_result_is_printed_in_a_line() -> None:
    epochs = tuple(EpochRecord(3 * n, n, 1.0, 0.5, 1.0, 0.5 + n / 100, 1.0, "numpy") for n in range(1, 91))
    result = rn.TrainingResult(Path("run"), "finished", 270, epochs)
    assert repr(result) == "<TrainingResult: run finished at step 270, 90 epochs, best accuracy 1.4000 in epoch 90>"
    assert repr(rn.TrainingResult(Path("r"), "until", 0, ())) == "<TrainingResult: r until at step 0, 0 epochs>"
