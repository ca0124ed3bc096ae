"""Data sets in, batches out: deterministic, resumable, checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import resnet_core as rn
from resnet_core.data import named as datasets
from resnet_core.data.dataset import Dataset, Split
from resnet_core.data.named import dataset
from resnet_core.errors import DataError, InputError
from resnet_core.preparation import Preparation
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe

RNG = np.random.default_rng(3)
TRAIN = (RNG.integers(0, 256, (11, 6, 5), np.uint8), np.arange(11, dtype=np.uint8) % 3)
TEST = (RNG.integers(0, 256, (4, 6, 5), np.uint8), np.array([2, 1, 0, 2], np.uint8))


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_idx(folder: Path, compress: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in (("train", TRAIN), ("t10k", TEST)):
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx(array)
            path = folder / f"{part}-{kind}-ubyte"
            if compress:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)
    return folder


def write_npz(path: Path, **changes: Any) -> Path:
    arrays = {"x_train": TRAIN[0], "y_train": TRAIN[1], "x_test": TEST[0], "y_test": TEST[1], **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def write_pictures(folder: Path) -> Path:
    for part in ("train", "test"):
        for number, name in enumerate(("cat", "dog")):
            (folder / part / name).mkdir(parents=True)
            for index in range(3):
                pixels = np.full((8 + index, 12, 3), 40 * number + index, np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index}.png")
    return folder


def pipeline(data: Dataset, **fields: Any) -> Pipeline:
    recipe = Recipe(**{"learning_rate": 0.1, "epochs": 2, "batch_size": 4, **fields})
    return Pipeline(data, recipe, rn.spec("resnet20", classes=len(data.classes), in_channels=data.train.channels or 3))


def everything(split: Split) -> np.ndarray:
    assert split.size is not None
    return split.read(np.arange(len(split)), Preparation(size=split.size, channels=split.channels or 3))


@pytest.mark.parametrize("kind", ["idx.gz", "idx", "npz"])
def test_arrays_come_in_from_each_kind_of_file(kind: str, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz") if kind == "npz" else write_idx(tmp_path / "a", kind == "idx.gz")
    data = dataset(path)
    np.testing.assert_array_equal(everything(data.train)[..., 0], TRAIN[0])
    np.testing.assert_array_equal(data.test.labels, TEST[1])
    assert (data.classes, data.train.size, data.train.channels) == (("0", "1", "2"), (6, 5), 1)


def test_cifars_binary_version_comes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = RNG.integers(0, 256, (10, 3, 32, 32), np.uint8)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, part in (("data_batch_1", slice(0, 4)), ("data_batch_2", slice(4, 8)), ("test_batch", slice(8, 10))):
            rows = [bytes([index]) + images[index].tobytes() for index in range(*part.indices(10))]
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(b"".join(rows))
            archive.addfile(member, io.BytesIO(b"".join(rows)))
    with pytest.raises(DataError, match="is not cifar10's file, or it is damaged: its MD5 is"):
        dataset("cifar10", tmp_path)
    path = tmp_path / "cifar-10-binary.tar.gz"
    published = {path.name: hashlib.md5(path.read_bytes()).hexdigest()}
    monkeypatch.setitem(datasets.NAMED, "cifar10", datasets.Download("https://nowhere/", published))
    data = dataset("cifar10", tmp_path)
    np.testing.assert_array_equal(everything(data.train), images[:8].transpose(0, 2, 3, 1))
    assert data.classes[3] == "cat"
    assert data.test.labels.tolist() == [8, 9]


def test_folders_of_pictures_by_class_come_in(tmp_path: Path) -> None:
    data = dataset(write_pictures(tmp_path / "animals"))
    assert data.classes == ("cat", "dog")
    found = data.test.read(np.array([0, 5]), Preparation(size=(6, 4)))
    assert found.shape == (2, 6, 4, 3)
    assert (found[0] == 0).all()
    assert (found[1] == 42).all()
    assert data.test.read(np.array([5]), Preparation(size=(6, 4), channels=1)).shape == (1, 6, 4, 1)


def test_a_corrupt_picture_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "animals")
    broken = folder / "train" / "dog" / "1.png"
    Image.fromarray(RNG.integers(0, 256, (30, 30, 3), np.uint8)).save(broken)
    cut(broken, broken.stat().st_size // 2)
    with pytest.raises(InputError, match=r"dog/1\.png' is damaged"):
        list(pipeline(dataset(folder), resize=[8, 8]).batches(0, 2))


def test_a_named_data_set_is_found_here_or_downloaded_with_a_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import functools
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    served = write_idx(tmp_path / "served")
    files = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in served.iterdir()}

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setitem(datasets.NAMED, "mnist", datasets.Download(url, files))
        assert len(dataset("mnist", tmp_path / "home").train) == 11
        assert {path.name for path in (tmp_path / "home" / "mnist").iterdir()} == set(files)
        changed = dict.fromkeys(files, "0" * 32)
        monkeypatch.setitem(datasets.NAMED, "mnist", datasets.Download(url, changed))
        with pytest.raises(DataError, match=r"could not be downloaded .*hash"):
            dataset("mnist", tmp_path / "elsewhere")
    finally:
        server.shutdown()
        server.server_close()
    monkeypatch.setitem(datasets.NAMED, "mnist", datasets.Download(url, files))
    assert len(dataset("mnist", tmp_path / "home").train) == 11  # no second download: nobody serves any more
    with pytest.raises(DataError, match="put its files there, or name their folder as data_dir"):
        dataset("mnist", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "train-images-idx3-ubyte.gz").unlink(), "train-images-idx3-ubyte(.gz) is missing"),
        (lambda folder: cut(folder / "t10k-images-idx3-ubyte.gz", 40), "not a whole gzip file"),
        (
            lambda folder: (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"hello")),
            "not an IDX file",
        ),
        (
            lambda folder: (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(TRAIN[1])[:-2])),
            "9 values where its header says (11,)",
        ),
        (
            lambda folder: (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(TRAIN[1][:5]))),
            "expected 11 classes counted from 0",
        ),
    ],
)
def test_damaged_idx_files_are_one_clear_line(spoil: Any, words: str, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "data")
    spoil(folder)
    with pytest.raises(DataError) as error:
        dataset(folder)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_other_bad_sources_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="received 'imagenet'; expected fashion-mnist, mnist, cifar10, a folder"):
        dataset("imagenet")
    with pytest.raises(DataError, match="expected x_train, y_train, x_test, y_test"):
        dataset(write_npz(tmp_path / "a.npz", y_test=None))
    with pytest.raises(DataError, match="expected uint8"):
        dataset(write_npz(tmp_path / "b.npz", x_train=TRAIN[0].astype(np.float32)))
    (tmp_path / "c.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        dataset(tmp_path / "c.npz")
    (tmp_path / "d" / "train" / "x").mkdir(parents=True)
    with pytest.raises(DataError, match="none of test/, val/ and validation/"):
        dataset(tmp_path / "d")


def test_a_data_set_that_cannot_be_downloaded_for_want_of_pooch_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match='pip install "pooch'):
        dataset("mnist", tmp_path)


def test_batches_are_a_function_of_the_step_alone(tmp_path: Path) -> None:
    data = dataset(write_npz(tmp_path / "a.npz"))
    first = pipeline(data, pad_crop=2, flip=True)
    course = dict(first.batches(0, 6))
    again = pipeline(data, pad_crop=2, flip=True)
    for step in (5, 0, 3):  # in any order, from a fresh pipeline: what a resumed run sees
        for one, other in zip(again.batch(step), course[step], strict=True):
            np.testing.assert_array_equal(one, other)
    other = pipeline(data, pad_crop=2, flip=True, seed=1)
    assert not np.array_equal(other.batch(0)[0], course[0][0])


def test_an_epoch_sees_every_picture_once_in_a_new_order(tmp_path: Path) -> None:
    data = dataset(write_npz(tmp_path / "a.npz"))
    plan = pipeline(data)
    assert plan.steps_per_epoch == 3
    orders = []
    for epoch in range(2):
        images = np.concatenate([plan.batch(3 * epoch + step)[0] for step in range(3)])
        pixels = np.rint(images[..., 0] * 255).astype(np.uint8)
        orders.append([next(i for i in range(11) if np.array_equal(TRAIN[0][i], picture)) for picture in pixels])
        assert sorted(orders[-1]) == list(range(11))
    assert orders[0] != orders[1]
    assert [shape[0] for shape in plan.batch_shapes()] == [4, 3]
    assert pipeline(data, drop_last=True).batch_shapes() == [(4, 6, 5, 1)]


def test_crops_and_flips_come_from_the_padded_picture(tmp_path: Path) -> None:
    data = dataset(write_npz(tmp_path / "a.npz"))
    plain, changed = pipeline(data), pipeline(data, pad_crop=1, flip=True)
    flips = 0
    for step in range(6):
        for before, after in zip(plain.batch(step)[0], changed.batch(step)[0], strict=True):
            padded = np.pad(before, ((1, 1), (1, 1), (0, 0)))
            crops = [padded[t : t + 6, s : s + 5] for t in range(3) for s in range(3)]
            matches = [
                any(np.array_equal(after, c) for c in crops),
                any(np.array_equal(after, c[:, ::-1]) for c in crops),
            ]
            assert any(matches)
            flips += matches[1] and not matches[0]
    assert 5 < flips < 17


def test_normalizing_and_resizing(tmp_path: Path) -> None:
    data = dataset(write_npz(tmp_path / "a.npz"))
    plain, changed = pipeline(data), pipeline(data, mean=[0.5], deviation=[0.25])
    np.testing.assert_allclose(changed.batch(0)[0], (plain.batch(0)[0] - 0.5) / 0.25, rtol=1e-6)
    assert plain.batch(0)[0].dtype == np.float32
    assert plain.batch(0)[0].max() <= 1
    large = pipeline(data, resize=[12, 7])
    assert large.batch(0)[0].shape == (4, 12, 7, 1)
    order = next(large.test_batches())[0]
    picture = Image.fromarray(TEST[0][0]).resize((7, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.rint(order[0, ..., 0] * 255), np.asarray(picture))


def test_the_mean_picture_is_the_training_pictures_and_subtracted_before_the_crop(tmp_path: Path) -> None:
    data = dataset(write_npz(tmp_path / "a.npz"))
    mean = TRAIN[0].mean(0)[..., None] / 255
    plain, centered = pipeline(data), pipeline(data, mean="pixel", deviation=[0.5])
    np.testing.assert_allclose(centered.batch(1)[0], (plain.batch(1)[0] - mean) / 0.5, atol=1e-6)
    np.testing.assert_allclose(next(centered.test_batches())[0], (TEST[0][..., None] / 255 - mean) / 0.5, atol=1e-6)
    assert centered.batch(0)[0].dtype == np.float32
    cropped = pipeline(data, mean="pixel", deviation=[0.5], pad_crop=1)
    for before, after in zip(centered.batch(2)[0], cropped.batch(2)[0], strict=True):
        padded = np.pad(before, ((1, 1), (1, 1), (0, 0)))
        assert any(np.array_equal(after, padded[t : t + 6, s : s + 5]) for t in range(3) for s in range(3))


def test_what_does_not_fit_the_network_says_what_to_do(tmp_path: Path) -> None:
    data = dataset(write_npz(tmp_path / "a.npz"))
    recipe = Recipe(learning_rate=0.1, epochs=1, batch_size=4)
    with pytest.raises(DataError, match="set in_channels = 1"):
        Pipeline(data, recipe, rn.spec("resnet20", classes=3))
    with pytest.raises(DataError, match="set classes = 3"):
        Pipeline(data, recipe, rn.spec("resnet20", in_channels=1))
    with pytest.raises(DataError, match="fill no batch of 99"):
        pipeline(data, batch_size=99, drop_last=True)
    with pytest.raises(DataError, match="mean: received 3 numbers; the pictures have 1 channel"):
        pipeline(data, mean=[0.1, 0.2, 0.3])
