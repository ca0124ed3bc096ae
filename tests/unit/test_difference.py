"""What separates two networks: nothing is missed, nothing is said that is not so."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

import resnet_core as rn
from resnet_core.difference.alignment import Row, align, changed_words, hunks
from resnet_core.difference.page import page
from resnet_core.errors import InputError

PAIRS = [
    ("resnet50", "resnet50_v1"),
    ("resnet50", "resnet_v2_50"),
    ("resnet18_d2l", "resnet18"),
    ("resnet18", "resnet152"),
]


def layers(left: str, right: str) -> list[tuple[str, str | None, str | None]]:
    return [(change.where, change.left, change.right) for change in rn.diff(left, right).layers]


def test_what_2015_and_today_disagree_about() -> None:
    found = rn.diff("resnet50", "resnet50_v1")
    assert [(c.path, c.left, c.right) for c in found.fields if c.path != "name"] == [
        ("stride_on", "3x3", "1x1"),
        ("initializer", "torchvision", "he"),
    ]
    assert layers("resnet50", "resnet50_v1") == [
        ("conv1 of stage2…4.block1", "Conv: stride 1", "Conv: stride 2"),
        ("conv2 of stage2…4.block1", "Conv: stride 2", "Conv: stride 1"),
    ]
    assert found.tensors == ()
    assert not found.same_network


def test_what_d2l_and_torchvision_disagree_about() -> None:
    assert layers("resnet18_d2l", "resnet18") == [
        ("stem.conv", "Conv: in channels 1, bias true", "Conv: in channels 3, bias false"),
        ("conv1 of every block", "Conv: bias true", "Conv: bias false"),
        ("conv2 of every block", "Conv: bias true", "Conv: bias false"),
        ("shortcut.conv of stage2…4.block1", "Conv: bias true", "Conv: bias false"),
        ("shortcut.norm of stage2…4.block1", None, "BatchNorm, epsilon 1e-05, decay 0.9"),
        ("head.linear", "Linear: out features 10", "Linear: out features 1000"),
    ]


def test_what_preactivation_moves() -> None:
    found = {where: (left, right) for where, left, right in layers("resnet50", "resnet_v2_50")}
    assert found["order of every block"][1] == "norm1 relu1 conv1 norm2 relu2 conv2 norm3 relu3 conv3"
    assert found["shortcut of stage1…4.block1"] == ("reads the input", "reads relu1")
    assert found["conv2 of stage1.block3, stage2.block4, stage3.block6"] == ("Conv: stride 1", "Conv: stride 2")
    assert found["head.norm"] == (None, "BatchNorm, epsilon 1e-05, decay 0.997")


def test_blocks_that_only_one_network_has_are_one_change() -> None:
    assert layers("resnet50", "resnet101") == [("stage3.block7…23", None, "9 layers")]
    assert layers("resnet101", "resnet50") == [("stage3.block7…23", "9 layers", None)]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_counts_and_tensors_are_those_of_the_networks(left: str, right: str) -> None:
    found = rn.diff(left, right)
    ours, theirs = rn.state(rn.spec(left)), rn.state(rn.spec(right))
    assert {change.path: (change.left, change.right) for change in found.tensors} == {
        name: (ours.get(name), theirs.get(name)) for name in ours | theirs if ours.get(name) != theirs.get(name)
    }
    counts = {change.path: (change.left, change.right) for change in found.counts}
    assert counts["macs"] == (rn.totals(rn.spec(left)).macs, rn.totals(rn.spec(right)).macs)


@pytest.mark.parametrize(
    ("name", "depth"),
    [("resnet18", 18), ("resnet50", 50), ("resnet152", 152), ("resnet_v2_200", 200), ("resnet110", 110)],
)
def test_the_number_of_layers_with_kernels_is_the_one_in_the_name(name: str, depth: int) -> None:
    counts = {change.path: change.left for change in rn.diff(name, "resnet20").counts}
    assert counts["layers with kernels"] == depth


def test_one_network_in_two_frameworks_is_the_same_network() -> None:
    found = rn.diff("resnet18", backends=("torch", "keras"))
    assert (found.left, found.right) == ("resnet18 in torch", "resnet18 in keras")
    assert found.same_network
    assert found.fields == ()


def test_a_network_and_itself_have_nothing_that_separates_them() -> None:
    found = rn.diff("resnet18", "resnet18")
    assert (found.fields, found.layers, found.tensors) == ((), (), ())
    assert {row.kind for row in found.rows} == {"equal"}
    assert list(hunks(found.rows)) == []


@pytest.mark.parametrize(("left", "right"), PAIRS)
@pytest.mark.parametrize("backends", [("torch", "torch"), ("torch", "flax"), ("numpy", "keras")])
def test_side_by_side_stands_every_line_of_both_programs_in_order(
    left: str, right: str, backends: tuple[str, str]
) -> None:
    found = rn.diff(left, right, backends=backends)
    for program, lines in zip(
        found.programs, ([row.left for row in found.rows], [row.right for row in found.rows]), strict=True
    ):
        seen = [line for line in lines if line is not None]
        assert [line.text for line in seen] == program.text.splitlines()
        assert all(second.number == first.number + 1 for first, second in pairwise(seen))
    for row in found.rows:
        same = row.left is not None and row.right is not None and row.left.text == row.right.text
        assert (row.kind == "equal") == same
        assert (row.kind == "left") == (row.right is None)
        assert (row.kind == "right") == (row.left is None)


def texts(rows: list[Row]) -> list[tuple[str, str | None, str | None]]:
    return [(row.kind, row.left and row.left.text, row.right and row.right.text) for row in rows]


def test_definitions_of_one_name_stand_beside_each_other_in_any_spelling() -> None:
    left = "x\nclass PreActBlock:\n    a = 1\ndef only():\n    pass\n@cached\ndef stage():\n    b\n"
    right = "x\ndef pre_act_block():\n    a = 2\ndef stage():\n    b\n"
    assert texts(align(left, right)) == [
        ("equal", "x", "x"),
        ("changed", "class PreActBlock:", "def pre_act_block():"),
        ("changed", "    a = 1", "    a = 2"),
        ("left", "def only():", None),
        ("left", "    pass", None),
        ("left", "@cached", None),
        ("equal", "def stage():", "def stage():"),
        ("equal", "    b", "    b"),
    ]


def test_words_that_changed_are_marked_and_put_together_again() -> None:
    left, right = "conv(channels, 3, stride)", "conv(channels, 1, stride, bias=False)"
    ours, theirs = changed_words(left, right)
    assert "".join(piece for piece, _ in ours) == left
    assert "".join(piece for piece, _ in theirs) == right
    assert [piece for piece, changed in ours if changed] == ["3"]
    assert [piece for piece, changed in theirs if changed] == ["1", ", bias=False"]
    assert changed_words("import torch", "def f(x):") == ([("import torch", False)], [("def f(x):", False)])


def test_another_size_is_the_same_network() -> None:
    found = rn.diff(rn.spec("resnet18", input_size=(64, 64)), "resnet18")
    assert found.counts[0].left == (64, 64, 3)
    assert found.same_network


def test_json_is_json() -> None:
    found = json.loads(json.dumps(rn.diff("resnet50", "resnet101").to_json()))
    assert found["layers"] == [
        {
            "layer": "", "paths": [f"stage3.block{number}" for number in range(7, 24)], "left": None,
            "right": "9 layers", "everywhere": False,
        }
    ]  # fmt: skip
    assert found["same_network"] is False
    assert found["rows"][0]["left"] == {"number": 1, "text": found["programs"][0]["text"].splitlines()[0]}


def test_the_page_holds_both_programs_and_no_markup_of_theirs() -> None:
    found = rn.diff("resnet18_d2l", rn.spec("resnet18", name="<b>mine"))
    text = page(found)
    assert "<b>mine" not in text
    assert "&lt;b&gt;mine" in text
    assert text.count("<tr class=") == len(found.rows)
    assert not re.search(r"\$\w+|https?://|<script", text)


def test_one_network_and_one_backend_are_refused() -> None:
    with pytest.raises(InputError, match=r"^diff: received one network and one backend \(resnet18, torch\); expected"):
        rn.diff("resnet18")
    with pytest.raises(InputError, match=r"^backends: received 1 names; expected two"):
        rn.diff("resnet18", "resnet34", backends=("torch",))


def test_a_spec_is_read_from_a_file(tmp_path: Path) -> None:
    rn.save_spec(tmp_path / "mine.toml", rn.spec("resnet18", classes=7))
    assert [change.path for change in rn.diff("resnet18", tmp_path / "mine.toml").fields] == ["classes"]


def test_a_difference_is_printed_in_a_line() -> None:
    line = repr(rn.diff("resnet18", "resnet34"))
    expected = r"<Difference: resnet18 and resnet34 differ in 2 fields, \d+ kinds of layer changes, 80 tensors>"
    assert re.fullmatch(expected, line)
