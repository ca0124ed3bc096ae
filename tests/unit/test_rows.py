"""Some rows of a batch, prepared without the others: to the bit those of the whole, whoever prepares how many."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.data.dataset import Dataset
from resnet_core.data.images import sample_fashion
from resnet_core.data.named import dataset
from resnet_core.errors import DataError, InputError
from resnet_core.training import pipeline as pipeline_module
from resnet_core.training.ahead import AHEAD, Each, Threads, ahead
from resnet_core.training.parallel.group import Group, total
from resnet_core.training.parallel.shards import Share
from resnet_core.training.parallel.threads import ThreadGroup, together
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe

EVERYTHING: dict[str, Any] = {
    "crop_area": [0.2, 1],
    "brightness": 0.4,
    "hue": 0.2,
    "pad_crop": 3,
    "flip": True,
    "mean": [0.3, 0.4, 0.5],
    "deviation": [0.4, 0.3, 0.2],
    "cutout": 5,
    "label_smoothing": 0.1,
    "resize": [20, 26],
    "seed": 4,
}

FIELDS: dict[str, dict[str, Any]] = {
    "mixup": {**EVERYTHING, "mixup": 0.4},
    "light": {**EVERYTHING, "crop_area": None, "crop_side": [28, 40], "lighting": 0.2},
    "cutmix": {**EVERYTHING, "cutmix": 1.0},
    "mean picture": {"mean": "pixel", "pad_crop": 2, "flip": True, "resize": [20, 26]},
}

#: Of these, what Pillow has no part in: its versions do not round alike.
WITHOUT_PILLOW = {"crop_area": None, "brightness": 0.0, "hue": 0.0, "resize": None}

#: SHA-256 of images and targets of an epoch, recorded when batches were prepared whole.
RECORDED = {"mixup": "b218d8576a237313", "cutmix": "e41e401c06acdc69", "mean picture": "bca218c9ab4707a7"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """25 pictures to train on, of which each has a size of its own, and 7 to test."""
    folder = tmp_path_factory.mktemp("rows") / "pictures"
    pictures, labels = sample_fashion(32)
    for number, (picture, label) in enumerate(zip(pictures, labels % 2, strict=True)):
        place = folder / ("train" if number < 25 else "test") / "ab"[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).convert("RGB").resize((30 + number, 50 - number)).save(place / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        return dataset(folder)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    pictures, labels = sample_fashion(32)
    path = tmp_path_factory.mktemp("rows") / "arrays.npz"
    color = np.concatenate([pictures, pictures[:, ::-1], pictures[:, :, ::-1]], axis=-1)
    given = {"x_train": color[:25], "y_train": labels[:25] % 2, "x_test": color[25:], "y_test": labels[25:] % 2}
    np.savez(path, **given)
    return dataset(path)


def pipeline(data: Dataset, workers: int = 1, **fields: Any) -> Pipeline:
    plan = Recipe(**{"learning_rate": 0.1, "epochs": 1, "batch_size": 9, **fields})
    return Pipeline(data, plan, rn.spec("resnet20", classes=2), workers)


@pytest.mark.parametrize("name", RECORDED)
def test_batches_are_what_they_were_when_they_were_prepared_whole(name: str, arrays: Dataset) -> None:
    for workers in (1, 3):
        plan, digest = pipeline(arrays, workers, **{**FIELDS[name], **WITHOUT_PILLOW}), hashlib.sha256()
        for step, (images, labels) in plan.batches(0, plan.total_steps):
            digest.update(images.tobytes() + plan.targets(step, labels).tobytes())
        assert digest.hexdigest()[:16] == RECORDED[name]


@pytest.mark.parametrize("piece", [1, 20 * 26 * 3 * 2, 2**19])
@pytest.mark.parametrize("name", FIELDS)
def test_rows_are_those_of_the_whole(name: str, piece: int, files: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any number of processes, of batches that it does not divide, with rows that fill a shard up."""
    fields = FIELDS[name]
    whole = pipeline(files, **fields)
    expected = dict(whole.batches(0, whole.total_steps))
    tested = list(whole.test_batches())
    monkeypatch.setattr(pipeline_module, "PIECE", piece)
    monkeypatch.setattr(pipeline_module, "LARGE", piece)  # both ways
    for processes in (1, 2, 3, 4):
        for rank in range(processes):
            share = Share(rank, processes, equal=True)
            plan = pipeline(files, workers=processes, **fields)
            for step, (images, labels) in plan.batches(0, plan.total_steps, share.rows):
                rows = share.rows(len(labels))
                np.testing.assert_array_equal(images, expected[step][0][rows])
                np.testing.assert_array_equal(labels, expected[step][1])
                targets = whole.targets(step, labels)[rows]
                np.testing.assert_array_equal(plan.targets(step, labels, share.rows), targets)
            for own, (images, _) in zip(plan.test_batches(share.tested), tested, strict=True):
                np.testing.assert_array_equal(own[0], images[share.tested(len(images))])


@contextmanager
def noting(files: Dataset) -> Iterator[list[int]]:
    """Inside, which training pictures are read."""
    read: list[int] = []
    own = files.train.read

    def noted(indices: np.ndarray, *rest: Any, **named: Any) -> np.ndarray:
        read.extend(indices.tolist())
        return own(indices, *rest, **named)

    object.__setattr__(files.train, "read", noted)
    try:
        yield read
    finally:
        object.__setattr__(files.train, "read", own)


def test_a_rank_reads_only_its_rows_and_their_partners(files: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "PIECE", 1)
    with noting(files) as read:
        found = []
        for rank in range(3):
            plan = pipeline(files)
            plan.batch(1, Share(rank, 3).rows)
            found.append(sorted(read))
            read.clear()
        assert sorted(index for rows in found for index in rows) == sorted(plan._order(0)[9:18])
        assert [len(rows) for rows in found] == [3, 3, 3]
        pipeline(files, mixup=0.3).batch(1, Share(0, 3).rows)
        assert 3 < len(read) == len(set(read)) <= 6, "a row and its partner, each once"


def together_mean(files: Dataset, processes: int) -> list[bytes]:
    """The mean picture that each of so many ranks has."""

    def learn(group: ThreadGroup) -> bytes:
        plan = pipeline(files, **FIELDS["mean picture"])
        plan.group = group
        plan.ready()
        assert plan.preparation.mean_picture is not None
        return plan.preparation.mean_picture

    return together(processes, learn)


@pytest.mark.parametrize("processes", [1, 2, 3, 30])
def test_the_mean_picture_is_that_of_one_process_and_no_rank_reads_another_s_part(
    processes: int, files: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = pipeline(files, **FIELDS["mean picture"]).preparation.mean_picture
    monkeypatch.setattr(pipeline_module, "PIECE", 1)
    with noting(files) as read:
        assert together_mean(files, processes) == [true] * processes
    assert sorted(read) == list(range(len(files.train)))


@pytest.mark.parametrize("defect", ["a part twice", "only its own"])
def test_a_mean_picture_of_other_parts_is_caught(defect: str, files: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(group: Group, sums: np.ndarray) -> np.ndarray:
        return total(group, sums) + group.gather(sums)[1]

    monkeypatch.setattr(pipeline_module, "total", twice if defect == "a part twice" else lambda group, sums: sums)
    true = pipeline(files, **FIELDS["mean picture"]).preparation.mean_picture
    assert true not in together_mean(files, 2)


@pytest.mark.parametrize("defect", ["draws", "crop"])
def test_rows_that_are_numbered_from_their_piece_are_caught(
    defect: str, files: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check above sees what a worker that counts from its own first row would do."""
    if defect == "draws":
        right = pipeline_module._Draws.of
        monkeypatch.setattr(pipeline_module._Draws, "of", lambda self, rows: right(self, np.arange(len(rows))))
    else:
        crop = pipeline_module.random_crop
        monkeypatch.setattr(
            pipeline_module, "random_crop", lambda recipe, step, size, rows: crop(recipe, step, size, range(len(rows)))
        )
    with pytest.raises(AssertionError):
        test_rows_are_those_of_the_whole("mixup", 1, files, monkeypatch)


def test_a_picture_that_cannot_be_read_is_named_where_its_step_is(tmp_path: Path) -> None:
    for part, count in (("train", 12), ("test", 1)):
        (tmp_path / "pictures" / part / "a").mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (9, 9)).save(tmp_path / "pictures" / part / "a" / f"{number}.png")
    data = dataset(tmp_path / "pictures")
    plan = Pipeline(
        data, Recipe(learning_rate=0.1, epochs=1, batch_size=3, resize=[9, 9]), rn.spec("resnet20", classes=1), 2
    )
    bad = data.train.files[int(plan._order(0)[7])]  # type: ignore[index]
    bad.write_bytes(b"no picture")
    threads, batches = threading.active_count(), plan.batches(0, 4)
    assert [next(batches)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(InputError, match=f"{bad.name}' is not a picture"):
        next(batches)
    assert threading.active_count() == threads, "no worker is left"


def test_only_some_are_made_ahead_and_what_has_not_begun_is_left_undone() -> None:
    begun: list[int] = []
    pieces: list[int] = []

    def make(item: int, each: Each) -> int:
        begun.append(item)
        list(each(lambda piece: (time.sleep(0.05), pieces.append(piece)), range(100 * item, 100 * item + 40)))
        return item

    before, start = threading.active_count(), time.monotonic()
    found: Iterator[int] = ahead(make, range(100), workers=8)
    assert next(found) == 0
    time.sleep(0.05)
    assert len(begun) <= 1 + AHEAD
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(pieces) < 120
    assert time.monotonic() - start < 5
    assert list(ahead(lambda item, each: sum(each(int, [item, item])), range(7), workers=3)) == [0, 2, 4, 6, 8, 10, 12]
    assert list(ahead(make, [], workers=1)) == []
    for most in (1, 3):
        begun.clear()
        found = ahead(lambda item, each: begun.append(item), range(9), 2, most)
        next(found)
        time.sleep(0.05)
        assert sorted(begun) == list(range(1 + most))
        found.close()  # type: ignore[attr-defined]


def test_threads_that_are_kept_are_started_at_once_and_no_others_later() -> None:
    """Two that work ahead at the same time, one left in the middle, and one that fails."""

    def make(item: int, each: Each) -> list[int]:
        return list(each(lambda piece: 1 // (piece - 50), range(item, item + 3)))

    before = threading.active_count()
    with Threads(3) as threads:
        there = threading.active_count()
        assert there == before + 3 + 2 * AHEAD
        first, second = ahead(make, range(40), threads), ahead(make, range(40), threads)
        for _ in range(5):
            assert next(first) == next(second)
        first.close()  # type: ignore[attr-defined]
        assert len(list(second)) == 35
        with pytest.raises(ZeroDivisionError):
            list(ahead(make, range(45, 60), threads))
        left = ahead(make, range(40), threads)
        next(left)
        assert threading.active_count() == there
    assert threading.active_count() == before
    left.close()  # type: ignore[attr-defined]


def test_an_error_of_a_piece_is_raised_in_turn() -> None:
    def work(piece: int) -> int:
        if piece == 5:
            raise DataError("piece 5")
        return piece

    threads = threading.active_count()
    found = ahead(lambda item, each: list(each(work, range(item, item + 3))), range(0, 9, 3), workers=2)
    assert next(found) == [0, 1, 2]
    with pytest.raises(DataError, match="piece 5"):
        next(found)
    assert threading.active_count() == threads
