"""TOML and JSON in and out without loss; overrides from Python and from a command line."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import resnet_core as rn
from random_specs import specs
from resnet_core import InputError, ResNetSpec, SpecError
from resnet_core.spec_files import from_json, from_toml, parse_overrides, to_json, to_toml
from resnet_core.specification import to_fields


def exact(spec: ResNetSpec) -> list[tuple[str, str]]:
    """Every field as text: 1 and 1.0 and True are equal, but not the same."""
    return [(field, repr(value)) for field, value in to_fields(spec).items()]


@pytest.mark.parametrize("name", rn.names())
def test_the_zoo_survives_toml_and_json(name: str, tmp_path: Path) -> None:
    spec = rn.spec(name)
    assert exact(from_toml(to_toml(spec))) == exact(spec)
    assert exact(from_json(to_json(spec))) == exact(spec)
    for ending in ("toml", "json"):
        rn.save_spec(tmp_path / f"other.{ending}", spec)
        assert exact(rn.spec(tmp_path / f"other.{ending}")) == exact(spec)


@given(spec=specs(), name=st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["none", "null", "[]"]))
def test_random_specs_survive_toml_and_json(spec: ResNetSpec, name: str) -> None:
    spec = rn.spec(spec, name=name)
    assert exact(from_toml(to_toml(spec))) == exact(spec)
    assert exact(from_json(to_json(spec))) == exact(spec)


@given(spec=specs())
def test_a_random_spec_can_be_said_by_overrides_alone(spec: ResNetSpec) -> None:
    fields = tomllib.loads(to_toml(spec))
    overrides = parse_overrides(f"{field}={json.dumps(value)}" for field, value in fields.items())
    assert exact(rn.spec("resnet50", **overrides)) == exact(spec)


def test_written_text_ends_in_one_newline_and_is_plain(tmp_path: Path) -> None:
    rn.save_spec(tmp_path / "a.toml", rn.spec("resnet20"))
    text = (tmp_path / "a.toml").read_text()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert 'stem_pool = "none"' in text
    assert 'output_stride = "none"' in text


def test_a_file_without_a_name_is_named_after_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('depths = [1]\nchannels = [8]\nblock = "basic"\n')
    assert rn.spec(str(tmp_path / "mine.toml")).name == "mine"


def test_overrides_replace_fields_of_names_files_and_specs(tmp_path: Path) -> None:
    rn.save_spec(tmp_path / "a.toml", rn.spec("resnet18"))
    for source in ("resnet18", tmp_path / "a.toml", str(tmp_path / "a.toml"), rn.spec("resnet18")):
        assert rn.spec(source, classes=10, input_size=64) == rn.spec("resnet18", classes=10, input_size=(64, 64))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("classes=10", 10),
        ("classes = none", None),
        ('classes="none"', None),
        ("stem_pool=none", "none"),
        ("name=none", "none"),
        ("block=basic", "basic"),
        ('block="basic"', "basic"),
        ("depths=[2, 2]", [2, 2]),
        ("norm_decay=0.997", 0.997),
        ("preactivation=true", True),
        ("name=a=b", "a=b"),
        ("conv_bias=[]", []),
        ("name=", ""),
    ],
)
def test_an_override_is_a_toml_value_none_or_plain_text(text: str, expected: Any) -> None:
    (value,) = parse_overrides([text]).values()
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("text", ["classes", "=10", " = 10", ""])
def test_an_override_without_key_or_value_is_one_clear_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_overrides([text])
    assert str(caught.value) == f"override: received {text!r}; expected key=value, such as classes=10"


def test_a_later_override_wins() -> None:
    assert parse_overrides(["classes=1", "classes=2"]) == {"classes": 2}


def write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


GOOD = b'depths = [1]\nchannels = [8]\nblock = "basic"\n'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.toml", GOOD + b"classes = \n", "not valid TOML: "),
        ("a.toml", GOOD + b"depths = [1]\n", "not valid TOML: "),
        ("a.toml", b"\xff\xfe" + GOOD, "not UTF-8 text (byte 0); expected a spec in TOML or JSON"),
        ("a.json", b'{"depths": [1]', "not valid JSON: "),
        ("a.json", b"[1, 2]", "received a list; expected an object of spec fields"),
        ("a.json", b"null", "received a NoneType; expected an object of spec fields"),
        ("a.json", b"[" * 100_000, "not valid JSON: "),
        ("a.txt", GOOD, "received the ending '.txt'; expected .toml or .json"),
    ],
)
def test_an_unreadable_spec_file_is_one_clear_line_with_its_path(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(InputError) as caught:
        rn.spec(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_directory_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "dir.toml").mkdir()
    for path, words in ((tmp_path / "no.toml", "no such file"), (tmp_path / "dir.toml", "is a directory")):
        with pytest.raises(InputError) as caught:
            rn.spec(path)
        assert str(caught.value) == f"{path}: {words}; expected a spec in TOML or JSON"


def test_an_error_in_a_files_field_is_a_spec_error(tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", GOOD.replace(b"[1]", b"[0]"))
    with pytest.raises(SpecError, match=rf"^{re.escape(str(path))}: depths\[0\]: received 0;"):
        rn.spec(path)
    with pytest.raises(SpecError, match=r"^depths\[0\]: received -1;"):  # which is not the file's
        rn.spec(path, depths=[-1])


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r"^resnext_50_32x4d: no spec has this name; did you mean resnext50_32x4d\? "):
        rn.spec("resnext_50_32x4d")


def test_a_spec_is_saved_to_toml_or_json_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"received the ending '.yaml'; expected .toml or .json$"):
        rn.save_spec(tmp_path / "a.yaml", rn.spec("resnet18"))
    assert not list(tmp_path.iterdir())
