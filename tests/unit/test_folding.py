"""Sections and blocks: folding loses no layer, and folds only what is alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

import resnet_core as rn
from resnet_core.analysis import Layer
from resnet_core.errors import InputError
from resnet_core.presentation.folding import Block, Section, fold, names_text
from resnet_core.tree import Subsample


def unfolded(section: Section) -> list[Layer]:
    """Every layer of a section, each with its own path again."""
    found = []
    for block in section.blocks:
        first = f"{section.name}.{block.names[0]}"
        for name in block.names:
            own = f"{section.name}.{name}"
            found += [replace(layer, path=own + layer.path[len(first) :]) if name else layer for layer in block.layers]
    return found


@pytest.mark.parametrize("name", rn.names())
def test_unfolded_again_it_is_every_layer_of_the_network(name: str) -> None:
    spec = rn.spec(name)
    sections = fold(spec)
    assert [layer for section in sections for layer in unfolded(section)] == rn.layers(spec)
    totals = rn.totals(spec)
    assert sum(section.parameters for section in sections) == totals.parameters
    assert sum(section.macs for section in sections) == totals.macs
    assert sections[-1].output_shape == totals.output_shape


def names(section: Section) -> list[str]:
    return [names_text(block.names) for block in section.blocks]


def test_like_blocks_in_a_row_are_one() -> None:
    stem, *stages, head = fold(rn.spec("resnet152"))
    assert [names(stage) for stage in stages] == [
        ["block1", "block2…3"], ["block1", "block2…8"], ["block1", "block2…36"], ["block1", "block2…3"],
    ]  # fmt: skip
    assert names(stem) == names(head) == [""]


def test_blocks_that_differ_in_one_number_stay_apart() -> None:
    """The second of resnet_v2_50's stages ends with the stride, and its blocks are dilated at an output stride."""
    sections = {section.name: section for section in fold(rn.spec("resnet_v2_50"))}
    assert names(sections["stage2"]) == ["block1", "block2…3", "block4"]
    assert isinstance(sections["stage2"].blocks[-1].layers[-1].leaf, Subsample)
    dense = {section.name: section for section in fold(rn.spec("resnet50", output_stride=8))}
    assert names(dense["stage4"]) == ["block1", "block2…3"]


def test_blocks_that_are_dropped_at_different_rates_are_one_which_has_them_all() -> None:
    """But one that is never dropped, as the first of all with linear rates, is another block."""
    spec = rn.spec("resnet20", shortcut="pad", drop_path=0.1)
    _, *stages, _ = fold(spec)
    assert [names(stage) for stage in stages] == [["block1", "block2…3"]] * 3
    found = [rate for stage in stages for block in stage.blocks for rate in block.rates]
    assert found == [rate for stage in spec.drop_path_rates() for rate in stage][1:]
    assert names(fold(spec, rates=False)[1]) == ["block1…3"]


def shortcut(block: Block) -> tuple[list[str], int, list[str]]:
    leaves = [type(layer.leaf).__name__ for layer in block.shortcut or ()]
    return leaves, block.reads, [type(layer.leaf).__name__ for layer in block.post]


def test_a_block_says_where_its_shortcut_starts_and_what_follows_the_sum() -> None:
    first, second = fold(rn.spec("resnet50"))[1].blocks
    assert shortcut(first) == (["Conv", "BatchNorm"], 0, ["ReLU"])
    assert shortcut(second) == ([], 0, ["ReLU"])
    projected, identity, _ = fold(rn.spec("resnet_v2_50"))[1].blocks
    assert shortcut(projected) == (["Conv"], 2, [])
    assert shortcut(identity) == ([], 0, [])


def test_shapes_are_those_of_the_asked_size() -> None:
    assert fold(rn.spec("resnet18"), (32, 64))[0].output_shape == (8, 16, 64)
    with pytest.raises(InputError, match=r"stem\.conv"):
        fold(rn.spec("resnet18", stem_kernel=4), (1, 1))
