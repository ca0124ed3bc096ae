"""How large what somebody asks for may be: refused by arithmetic alone, long before a machine is full."""

from __future__ import annotations

import ast
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

import resnet_core as rn
from random_specs import specs
from resnet_core import specification
from resnet_core.analysis import tap_shapes, totals
from resnet_core.bounds import MOST_BLOCKS, MOST_MAP, MOST_STAGES, MOST_VALUES, map_values, tensor_values
from resnet_core.data.images import MAXIMUM_SIDE
from resnet_core.errors import InputError, RecipeError, SpecError
from resnet_core.fields import MOST_TEXT, parse_json, parse_toml

RECIPE: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 4, "epochs": 1}


def test_every_named_network_is_within_the_bounds_and_counted_closely() -> None:
    largest, deepest = 0, 0
    for name in rn.names():
        spec = rn.spec(name)
        counted, state = tensor_values(spec).total(), totals(spec).state
        assert state <= counted <= 1.25 * state, name
        largest, deepest = max(largest, counted), max(deepest, sum(spec.depths))
    assert largest * 2 < MOST_VALUES
    assert deepest * 3 < MOST_BLOCKS


@given(spec=specs())
@hypothesis_settings(max_examples=100)
def test_no_network_has_more_than_is_counted(spec: rn.ResNetSpec) -> None:
    assert totals(spec).state <= tensor_values(spec).total()
    for shape in tap_shapes(spec).values():
        if len(shape) == 3:
            assert shape[0] * shape[1] * min(shape[2], spec.in_channels) <= map_values(spec)[1]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"depths": [MOST_BLOCKS + 1, 1, 1, 1]}, "depths"),
        ({"depths": [10_000] * 100, "channels": [2] * 100}, "depths"),
        ({"depths": [1] * (MOST_STAGES + 1), "channels": [2] * (MOST_STAGES + 1)}, "depths"),
        ({"depths": [10] * 100, "channels": [1_000_000] * 100, "output_stride": 4}, "channels"),
        ({"channels": [20_000] * 4}, "channels"),
        ({"in_channels": 1_000_000}, "in_channels"),
        ({"stem_channels": 1_000_000}, "stem_channels"),
        ({"classes": 1_000_000}, "classes"),
        ({"head_channels": 1_000_000}, "head_channels"),
        ({"input_size": 100_000}, "input_size"),
        ({"input_size": [100_000, 10_000], "stem_channels": 64}, "input_size"),
        ({"name": "x" * 251}, "name"),
    ],
)
def test_a_network_that_no_machine_has_is_refused_at_once(fields: dict[str, Any], field: str) -> None:
    began = time.process_time()
    with pytest.raises(SpecError, match=rf"^{field}: "):
        rn.spec("resnet50", **fields)
    assert time.process_time() - began < 2


def test_the_bounds_themselves_are_allowed() -> None:
    assert sum(rn.spec("resnet50", depths=[MOST_BLOCKS - 3, 1, 1, 1]).depths) == MOST_BLOCKS
    assert (
        len(
            rn.spec(
                depths=[1] * MOST_STAGES, channels=[2] * MOST_STAGES, block="basic", strides=[1] * MOST_STAGES
            ).depths
        )
        == 100
    )
    assert rn.spec("resnet50", name="x" * 250).name
    assert map_values(rn.spec("resnet50", input_size=4096))[1] <= MOST_MAP


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"resize": MAXIMUM_SIDE}, "resize"),
        ({"resize": [16_384, 16_384]}, "resize"),
        ({"mean": [float("nan")]}, "mean"),
        ({"mean": [float("inf")]}, "mean"),
        ({"deviation": [float("inf")]}, "deviation"),
        ({"milestones": list(range(1, 10_002)), "schedule": "step"}, "milestones"),
        ({"name": "x" * 251}, "name"),
        ({"name": "\ud800"}, "name"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(RecipeError, match=rf"^{field}(\[\d+\])?: "):
        rn.recipe("fashion-adam", **fields)


@pytest.mark.parametrize("parse", [parse_toml, lambda text, where, error: parse_json(text, where, "fields", error)])
@pytest.mark.parametrize(
    "value", ["[" * 20 + "]" * 20, "[" * 5000, "9" * 5000, str(2**64), "x" * MOST_TEXT], ids=lambda text: text[:8]
)
def test_a_text_that_is_too_deep_or_too_long_is_one_line(parse: Any, value: str) -> None:
    text = f"a = {value}" if parse is parse_toml else f'{{"a": {value}}}'
    with pytest.raises(InputError, match=r"^here: "):
        parse(text, "here", InputError)


@pytest.mark.parametrize(
    "text",
    [".".join(["a"] * 20_000) + " = 1", "[" + " . ".join(["a"] * 20_000) + "]", "x" * 200_000 + " = 1", " " * 200_000],
    ids=["dots", "blanks", "word", "nothing"],
)
def test_reading_a_text_takes_no_square_of_its_length(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(InputError):
        parse_toml(text, "here", InputError)
    assert time.process_time() - began < 2


def test_ordinary_numbers_with_dots_are_read() -> None:
    text = "a = [" + ", ".join(["0.5"] * 1000) + "]\nb.c.d = 1.5\n"
    assert parse_toml(text, "here", InputError)["b"] == {"c": {"d": 1.5}}


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 2}}'])
def test_a_key_that_is_there_twice_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^here: not valid JSON: the key 'a' is there twice$"):
        parse_json(text, "here", "fields", InputError)


def test_the_bound_is_what_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specification, "MOST_VALUES", 10**18)
    assert rn.spec("resnet50", channels=[20_000] * 4).channels[0] == 20_000


def test_the_page_says_the_bounds() -> None:
    from resnet_core import fields, files, preparation
    from resnet_core.bounds import MOST_NAME
    from resnet_core.cli.options import MOST_SECONDS
    from resnet_core.data import archives, images, readers
    from resnet_core.training import pipeline, recipe, run_folder

    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
    for words in (
        f"{fields.MOST_TEXT // 1024} KiB, 16 levels of lists and tables, keys of 32 parts, integers of 64 bits",
        f"| {files.MOST // 2**20} MiB |",
        f"| {run_folder.LINE // 1024} KiB |",
        f"{MOST_STAGES} stages, {MOST_BLOCKS:,} blocks, {MOST_VALUES:,} values, {MOST_MAP:,} values in a map",
        f"a name of {MOST_NAME} characters",
        f"16,384 in a row and {recipe.MOST_PIXELS:,} pixels; a batch of {pipeline.MOST_VALUES:,} values",
        f"{images.MAXIMUM_PIXELS:,} pixels, {images.MAXIMUM_SIDE:,} in a row",
        f"| {preparation.MOST_PIXELS:,} pixels |",
        f"{archives.MOST_BYTES // 2**30} GiB unpacked, {archives.MOST_MEMBERS:,} files in an archive",
        f"{archives.MOST_AXES} axes, {readers.MOST_CLASSES:,} classes",
        f"{MOST_SECONDS:,} seconds",
    ):
        assert words in page, words


@pytest.mark.parametrize("backend", ["torch", "keras", "flax", "numpy"])
@pytest.mark.parametrize(
    "name", ['x"""\nimport os\n"""', "x\\", 'x\\"""\nimport os\n"""', '"""', '""', "\r\nimport os\n", "x\x1b[31m"]
)
def test_a_name_never_becomes_code(backend: str, name: str) -> None:
    """A printed program is run by whoever asked for it, and the name in it may be a stranger's."""

    def statements(program: str) -> list[str]:
        tree = ast.parse(program)
        for each in ast.walk(tree):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                each.value = ""  # a model may have the name as a text
        return [ast.dump(each) for each in tree.body]

    spec = rn.spec("resnet20", name=name)
    program = rn.source(spec, backend)
    assert statements(program) == statements(rn.source(rn.spec(spec, name="plain"), backend))
    assert not {each for each in program if not each.isprintable()} - {"\n"}
    if backend != "numpy":
        recipe = rn.recipe("fashion-adam", name=name)
        ours, plain = (rn.source(spec, backend, train=each) for each in (recipe, rn.recipe(recipe, name="plain")))
        assert statements(ours) == statements(plain)
