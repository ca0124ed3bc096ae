"""`rn.compare`: a library function with a typed result, and the rule by which gradients are judged."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
from resnet_core.comparison.result import BackendResult, Comparison
from resnet_core.conversion.read import backend_that_reads
from resnet_core.errors import InputError
from resnet_core.numerics import gradient_errors

SPEC = rn.spec("resnet20", depths=[1, 1], channels=[2, 3], classes=3, input_size=9)
REFERENCE = {"a.weight": np.array([[1.0, -2.0]]), "b.bias": np.array([0.5])}


def result(**changes: object) -> BackendResult:
    known = {"device": "cpu", "dtype": "float32", "versions": {"toy": "1"}, "tolerance": 1e-5}
    errors = {"max_error": {"stem": 1e-7, "logits": 2e-7}, "tolerances": {"stem": 1e-5, "logits": 1e-5}}
    return BackendResult(**{**known, **errors, **changes})  # type: ignore[arg-type]


def comparison(
    level: str = "logits", dtype: str = "float32", named: bool = True, **results: BackendResult
) -> Comparison:
    return Comparison(
        spec=SPEC, level=level, dtype=dtype, asked_device="auto", reference="numpy float64", batch=4,
        backends=results, named=named,
    )  # fmt: skip


# The library function


def test_compare_is_a_function_with_a_typed_result() -> None:
    messages: list[str] = []
    found = rn.compare(SPEC, ["torch"], device="cpu", progress=messages.append)
    assert isinstance(found, rn.Comparison)
    assert found.equal
    assert found.backends["torch"].output_shape == (4, 3)
    assert found.backends["torch"].max_error["logits"] <= 1e-5
    assert found.summary().startswith("Equal: resnet20 in torch has logits and every tap equal to the numpy float64")
    assert repr(found) == f"<Comparison: {found.summary()}>"
    assert messages == ["numpy: the reference in float64", "torch: build, run, compare"]
    with pytest.raises(FrozenInstanceError):
        found.level = "shapes"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backends": ["mxnet"]}, "backends: received 'mxnet'; registered are"),
        ({"backends": "mxnet"}, "backends: received 'mxnet'; registered are"),
        ({"backends": []}, "backends: received none"),
        ({"level": "all"}, "level: received 'all'"),
        ({"device": "tpu"}, "device: received 'tpu'"),
        ({"dtype": "float16"}, "dtype: received 'float16'"),
        ({"pythons": {"mxnet": "python"}}, "pythons: received one for 'mxnet'"),
        ({"spec": None, "weights": {}}, "weights: received some without a spec"),
        ({"weights": {}}, "expected tensors"),
        ({"spec": "resnet5"}, "resnet5: no spec has this name"),
        ({"spec": rn.spec(SPEC, classes=None), "level": "training"}, "training needs one prediction per picture"),
    ],
)
def test_bad_arguments_are_one_line_without_words_of_the_command_line(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        rn.compare(**{"spec": SPEC, **arguments})  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "--" not in str(caught.value)


def test_importing_the_core_imports_neither_processes_nor_the_comparison() -> None:
    program = (
        "import sys, resnet_core as rn\n"
        "late = ('resnet_core.workers', 'resnet_core.comparison', 'subprocess')\n"
        "assert not [name for name in sys.modules if name.startswith(late)]\n"
        "assert 'compare' in dir(rn)\n"
        "assert rn.compare.__name__ == 'compare'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# The result


def test_the_json_has_exactly_the_promised_keys() -> None:
    found = comparison(
        a=result(), b=result(error="b: fell over"), c=BackendResult(error="no c", missing=True)
    ).to_json()
    assert list(found) == ["spec", "equal", "level", "dtype", "device", "reference", "batch", "backends"]
    assert set(found["backends"]["a"]) == {
        "device", "dtype", "versions", "tolerance", "parameters", "state", "seconds", "peak_memory_bytes",
        "output_shape", "max_error", "tolerances", "shape_errors", "equal",
    }  # fmt: skip
    assert set(found["backends"]["a"]["seconds"]) == {"first", "steady", "repeats"}
    assert set(found["backends"]["b"]) == {"device", "dtype", "versions", "error", "bad_input"}
    assert found["backends"]["c"] == {"error": "no c", "missing": True}
    assert "accuracy" in result(accuracy=0.5).to_json()


def test_an_infinite_error_is_null_in_the_json_and_unequal() -> None:
    for value in (float("inf"), float("nan")):
        entry = result(max_error={"logits": value}, tolerances={"logits": 1e-5})
        assert not entry.equal
        assert json.loads(json.dumps(entry.to_json(), allow_nan=False))["max_error"] == {"logits": None}


def test_equal_is_what_the_deciding_keys_say() -> None:
    noisy = result(max_error={"gradients": 0.2, "gradients_narrow": 1e-6}, tolerances={"gradients_narrow": 5e-5})
    assert noisy.equal
    assert not replace(noisy, max_error={"gradients": 1e-6, "gradients_narrow": 1e-4}).equal
    assert not replace(noisy, shape_errors=("a line",)).equal
    assert not replace(noisy, error="a line").equal


def test_a_backend_that_nobody_named_may_be_missing() -> None:
    missing = BackendResult(error="backend b needs b", missing=True)
    assert comparison(a=result(), b=missing, named=False).equal
    asked = comparison(a=result(), b=missing)
    assert not asked.equal
    assert asked.refused
    assert asked.sentence() == ("Not compared in all: resnet20: a equal to the reference; b is not installed.")


def test_gradients_that_are_too_noisy_are_said_to_be() -> None:
    noisy = result(max_error={"gradients": 0.21, "gradients_narrow": 1e-6}, tolerances={"gradients_narrow": 5e-5})
    found = comparison("gradients", a=noisy)
    assert found.equal
    assert found.sentence().endswith("within 5e-5 in float32; the gradients in a narrow network of the same kind.")
    (line,) = found.notes()
    assert line.startswith("a: gradients in float32 are too noisy to judge at this width (error 2.1e-1)")
    assert line in found.summary()
    quiet = replace(noisy, max_error={"gradients": 1e-6, "gradients_narrow": 1e-6})
    assert list(comparison("gradients", a=quiet).notes()) == []
    wrong = replace(noisy, max_error={"gradients": 2.0, "gradients_narrow": 2.0})
    assert list(comparison("gradients", a=wrong).notes()) == []


def test_a_backend_without_exact_float64_is_named() -> None:
    exact = result(dtype="float64", tolerances={"logits": 1e-12}, max_error={"logits": 1e-15})
    sentence = comparison(dtype="float64", a=exact, mine=result()).sentence()
    assert "within 1e-12 in float64; mine within 1e-5 in float32, since it has no exact float64." in sentence
    alone = comparison(dtype="float64", mine=result()).sentence()
    assert alone.endswith("reference within 1e-5 in float32, since it has no exact float64.")


# The rule for gradients


def test_equal_gradients_have_no_error() -> None:
    assert gradient_errors(REFERENCE, REFERENCE) == {"a.weight": 0.0, "b.bias": 0.0}


@pytest.mark.parametrize(
    ("found", "name", "error"),
    [
        ({name: -array for name, array in REFERENCE.items()}, "a.weight", 2.0),
        ({name: 0 * array for name, array in REFERENCE.items()}, "a.weight", 1.0),
        ({}, "a.weight", float("inf")),
        ({**REFERENCE, "c": np.ones(1)}, "c", float("inf")),
        ({**REFERENCE, "b.bias": np.ones(2)}, "b.bias", float("inf")),
        ({**REFERENCE, "b.bias": np.array([np.nan])}, "b.bias", float("inf")),
    ],
)
def test_wrong_gradients_have_one(found: dict[str, np.ndarray], name: str, error: float) -> None:
    assert gradient_errors(found, REFERENCE)[name] == error


def test_gradients_are_held_against_a_reference_that_vanishes_without_a_division_by_zero() -> None:
    zero = {name: 0 * array for name, array in REFERENCE.items()}
    assert set(gradient_errors(zero, zero).values()) == {0.0}
    assert set(gradient_errors(REFERENCE, zero).values()) == {float("inf")}


# Other people's weights


def test_the_ending_says_which_backend_reads_a_file() -> None:
    assert backend_that_reads(Path("a.pth")) == "torch"
    with pytest.raises(InputError, match=r"received the ending '\.zip'; expected \.safetensors, \.pth, "):
        backend_that_reads(Path("a.zip"))
