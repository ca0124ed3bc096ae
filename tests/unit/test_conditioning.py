"""Where a network enlarges what float32 rounds, a comparison says so; what may be a mistake is not called rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resnet_core.comparison.conditioning import amplified
from resnet_core.comparison.result import BackendResult
from resnet_core.workers.child import Arrays

#: Images that differ much, and by half a percent.
APART = np.linspace(1.0, 2.0, 60).reshape(1, 5, 4, 3)
ALIKE = 1 + APART / 200
LIMITS = {"stage1": 1e-5, "logits": 1e-5}
DAMPED = BackendResult(dtype="float32", max_error={"stage1": 1e-6, "logits": 2e-6}, tolerances=LIMITS)
NOISY = replace(DAMPED, max_error={"stage1": 1e-6, "logits": 9e-4})


def network(images: np.ndarray) -> Arrays:
    """Its logits are what little the images differ by."""
    return {"stage1": images, "logits": images - images[0, 0, 0, 0]}


def said(results: list[BackendResult], images: np.ndarray) -> tuple[str, float] | None:
    return amplified(results, network(images), images, network)


def test_what_rounding_may_be_is_said_with_the_factor() -> None:
    found = said([DAMPED, NOISY], ALIKE)
    assert found is not None
    assert found[0] == "logits"
    # The largest change of 60 is two to three deviations, each of 1e-9 times 1; the largest logit is 0.005.
    assert 200 < found[1] < 1000
    assert said([DAMPED, NOISY], APART) is None, "some times are not the 90 that the error is of its limit"


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(replace(NOISY, max_error={"stage1": 1e-6, "logits": 0.5}), id="larger than rounding"),
        pytest.param(replace(NOISY, max_error={"stage1": 1e-6, "logits": float("nan")}), id="not a number"),
        pytest.param(replace(NOISY, max_error={"stage1": 9e-4, "logits": 9e-4}), id="before it is enlarged"),
        pytest.param(replace(NOISY, dtype="float64"), id="float64"),
        pytest.param(replace(NOISY, shape_errors=("a line",)), id="another shape"),
        pytest.param(replace(NOISY, max_error={"loss": 1.0}, tolerances={"loss": 1e-5}), id="a loss"),
    ],
)
def test_what_may_be_a_mistake_is_not(result: BackendResult) -> None:
    assert said([NOISY], ALIKE) is not None
    assert said([NOISY, result], ALIKE) is None


def test_what_is_equal_costs_nothing() -> None:
    def again(images: np.ndarray) -> Arrays:
        raise AssertionError("the reference ran once more")

    assert amplified([DAMPED, BackendResult(error="fell over")], network(APART), APART, again) is None
