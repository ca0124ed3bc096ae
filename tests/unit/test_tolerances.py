"""The table of tolerances: complete, and the only place of a limit in what judges backends."""

from __future__ import annotations

import ast
from pathlib import Path

import resnet_core
from resnet_core.tolerances import TOLERANCES
from resnet_core.weights import DTYPES, HALF, TF32

CORE = Path(resnet_core.__file__).parent
#: Numbers of a recipe or a layer: keywords, or keys of such a mapping.
SETTINGS = {"weight_decay", "epsilon", "learning_rate"}


def small_numbers(source: str) -> list[float]:
    """Literals below a thousandth, but for the settings of a recipe or a layer."""
    module = ast.parse(source)
    settings = {
        id(value)
        for node in ast.walk(module)
        for name, value in (
            [(node.arg, node.value)]
            if isinstance(node, ast.keyword)
            else zip([getattr(key, "value", None) for key in node.keys], node.values, strict=True)
            if isinstance(node, ast.Dict)
            else []
        )
        if name in SETTINGS
    }
    return [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, float)
        and 0 < node.value < 1e-3
        and id(node) not in settings
    ]


def test_every_quantity_has_a_limit_in_each_dtype_and_float64_is_the_hard_one() -> None:
    for quantity, limits in TOLERANCES.items():
        if quantity == "tf32 output":
            assert limits.keys() == {TF32}
            assert 2**-11 < limits[TF32] < TOLERANCES["half output"]["float16"]
        elif quantity.startswith("convolutions "):
            assert limits.keys() == {"bfloat16"}, quantity
            assert limits["bfloat16"] < TOLERANCES["half output"]["bfloat16"], quantity
        elif quantity.startswith("rounded "):
            assert limits.keys() == {"bfloat16"}, quantity
            assert limits["bfloat16"] < (0.1 if "network" in quantity else 2**-8), quantity
        elif quantity.startswith("half "):
            assert limits.keys() == set(HALF), quantity
            assert 2**-11 < limits["float16"] <= limits["bfloat16"] / 4 < 0.02, quantity
        else:
            assert limits.keys() == set(DTYPES), quantity
            assert 0 < limits["float64"] <= limits["float32"] / 100 < 1e-6, quantity


def test_what_judges_backends_reads_the_table() -> None:
    files = [*CORE.glob("comparison/*.py"), *CORE.glob("conformance/checks/*.py"), CORE / "conformance" / "check.py"]
    assert len(files) > 12
    assert {path.name: found for path in files if (found := small_numbers(path.read_text()))} == {}


def test_a_limit_that_stands_elsewhere_is_noticed() -> None:
    assert small_numbers('expect_close("output", found, truth, 1e-12)\nplan = Recipe(weight_decay=1e-4)') == [1e-12]
