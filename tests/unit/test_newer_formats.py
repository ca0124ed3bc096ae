"""Files of a later version are refused and left as they are; what is older or damaged is not taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import resnet_core as rn
from resnet_core.errors import InputError, NewerFormatError, WeightsError
from resnet_core.preparation import Inputs, standard_preparation
from resnet_core.safetensors_file import read_safetensors, write_safetensors
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint
from resnet_core.training.contract import TrainingState
from resnet_core.training.run_folder import RunFolder

SPEC = rn.spec(depths=[1], channels=[2], block="basic", classes=2, in_channels=1, input_size=[9, 11])
ABOUT = {"format": 1, "data": "x", "source": None, "dtype": "float32", "sessions": [{"backend": "numpy", "step": 0}]}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with two checkpoints."""
    run = RunFolder(tmp_path / "run")
    inputs = Inputs(standard_preparation((9, 11), 1), ("a", "b"))
    recipe = rn.recipe("fashion-adam")
    with run.held(new=True):
        for step in (0, 1):
            start = Checkpoint(SPEC, recipe, TrainingState(rn.initialize(SPEC), step=step), {})
            if step:
                run.save(start, inputs, keep=3)
            else:
                run.create(start, inputs, ABOUT)
    return run


def changed(path: Path, **metadata: str) -> bytes:
    arrays, own = read_safetensors(path)
    write_safetensors(path, arrays, {**own, **metadata})
    return path.read_bytes()


def test_a_newer_checkpoint_is_no_damaged_one(folder: RunFolder) -> None:
    newest = folder.checkpoints()[0]
    data = changed(newest, format="checkpoint 2")
    told: list[str] = []
    with pytest.raises(NewerFormatError, match="has format 'checkpoint 2'; this version reads"):
        folder.load(told.append)
    assert told == []
    assert newest.read_bytes() == data


@pytest.mark.parametrize("kind", ["checkpoint", "checkpoint x", "weights"])
def test_a_damaged_checkpoint_is_no_newer_one(folder: RunFolder, kind: str) -> None:
    changed(folder.checkpoints()[0], format=kind)
    told: list[str] = []
    assert folder.load(told.append).state.step == 0
    assert len(told) == 1


@pytest.mark.parametrize(
    ("found", "error", "words"),
    [(2, NewerFormatError, "this version reads 1"), *((damage, InputError, "damaged") for damage in ("x", None, 1.5))],
)
def test_a_run_of_another_format_is_left_alone(
    folder: RunFolder, found: object, error: type[InputError], words: str
) -> None:
    path = folder.path / "run.json"
    path.write_text(json.dumps({**ABOUT, "format": found}))
    before = path.read_bytes()
    with pytest.raises(error, match=words):
        folder.open()
    assert path.read_bytes() == before


def test_weights_of_a_later_version_are_refused(folder: RunFolder) -> None:
    path = folder.path / "last.safetensors"
    changed(path, format="3")
    with pytest.raises(NewerFormatError, match="this version reads formats 1 and 2"):
        rn.load_weights(path)


@pytest.mark.parametrize("metadata", [{"progress": "[" * 5000}, {"step": "x"}, {"recipe": "{}"}, {"spec": "null"}])
def test_a_checkpoint_made_by_hand_is_one_line(folder: RunFolder, metadata: dict[str, str]) -> None:
    from resnet_core.training.checkpoint import _digest

    path = folder.checkpoints()[0]
    arrays, own = read_safetensors(path)
    about = {**own, **metadata}
    write_safetensors(path, arrays, {**about, "digest": _digest(arrays, about)})
    with pytest.raises(InputError):
        load_checkpoint(path)


def test_a_place_that_cannot_be_written_is_said_before_the_first_step(folder: RunFolder) -> None:
    (folder.path / "last.safetensors").unlink()
    (folder.path / "last.safetensors").mkdir()
    with pytest.raises(InputError, match=r"last\.safetensors: cannot be written \(Is a directory\)"):
        folder.load(lambda message: None)


def test_every_flip_in_format_2_is_noticed(tmp_path: Path) -> None:
    """The digest covers spec, preparation, classes and format; in format 1 an epsilon may change unnoticed."""
    path = tmp_path / "w.safetensors"
    inputs = standard_preparation((9, 11), 1)
    rn.save_weights(path, rn.initialize(SPEC), SPEC, preparation=inputs, classes=["one", "two"])
    data = path.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    whole = rn.read_weight_file(path)
    draw = np.random.default_rng(0)
    for _ in range(300):
        flipped = bytearray(data)
        flipped[draw.integers(8, length)] ^= 1 << int(draw.integers(8))
        path.write_bytes(flipped)
        try:
            found = rn.read_weight_file(path)
        except WeightsError:
            continue
        assert (found.spec, found.preparation, found.classes) == (whole.spec, whole.preparation, whole.classes)
