"""Data sets in archives: a flipped bit is found where a checksum covers it, and nothing is unpacked without a bound."""

from __future__ import annotations

import gzip
import io
import random
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bad_inputs import IDX_NAMES, cifar, cifar_archives, idx, idx_folders, npz, npz_files
from resnet_core.data import archives
from resnet_core.data.archives import idx_array, npz_arrays, tar_members
from resnet_core.data.named import dataset
from resnet_core.errors import DataError

WANTED = ("x_train", "y_train", "x_test", "y_test")
Content = dict[str, bytes]


def read_npz(path: Path) -> Content:
    return {name: array.tobytes() for name, array in zip(WANTED, npz_arrays(path, WANTED), strict=True)}


def read_idx(path: Path) -> Content:
    return {"values": idx_array(path).tobytes()}


def read_tar(path: Path) -> Content:
    return dict(tar_members(path, ".bin"))


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 9, 11), np.uint8)


KINDS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], Content]]] = {
    "npz": ("data.npz", lambda: npz(x_train=pictures()), read_npz),
    "idx.gz": ("images.gz", lambda: gzip.compress(idx(pictures()), mtime=0), read_idx),
    "cifar": ("cifar-10-binary.tar.gz", cifar, read_tar),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_changes_what_is_read(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    name, make, read = KINDS[kind]
    path, data = tmp_path / name, make()
    path.write_bytes(data)
    whole = read(path)
    draw = random.Random(0)
    refused = 0
    for _ in range(3000 if request.config.getoption("--long") else 150):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            found = read(path)
        except DataError:
            refused += 1
            continue
        assert found == whole  # a flag or a time that nobody reads
    assert refused > 75


@pytest.mark.parametrize("kind", KINDS)
def test_no_cut_file_is_read(kind: str, tmp_path: Path) -> None:
    name, make, read = KINDS[kind]
    data = make()
    for size in range(0, len(data) - 1, max(1, len(data) // 40)):
        (tmp_path / name).write_bytes(data[:size])
        with pytest.raises(DataError):
            read(tmp_path / name)


@pytest.mark.parametrize("name", [*npz_files(), *idx_folders(), *cifar_archives()])
def test_what_is_no_data_set_is_one_line_in_little_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name in npz_files():
        path.write_bytes(npz_files()[name])
    else:
        path.mkdir()
        files = idx_folders().get(name) or {"cifar-10-binary.tar.gz": cifar_archives()[name]}
        for file, content in files.items():
            (path / file).write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as caught:
        dataset(path)
    assert len(str(caught.value).splitlines()) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 10_000)
    zeros = np.zeros((1000, 9, 11), np.uint8)
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(zeros)))
    (tmp_path / "data.npz").write_bytes(npz(x_train=zeros))
    (tmp_path / "cifar.tar.gz").write_bytes(cifar(size=3073 * 5))
    for read, name in ((read_idx, "images.gz"), (read_npz, "data.npz"), (read_tar, "cifar.tar.gz")):
        with pytest.raises(DataError, match="expected at most 10,000"):
            read(tmp_path / name)


def test_a_directory_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(npz())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo("x_train.npy").file_size
    place = data.rfind(size.to_bytes(4, "little"), 0, data.rfind(b"y_train.npy"))
    data[place : place + 4] = (2**31).to_bytes(4, "little")
    (tmp_path / "data.npz").write_bytes(data)
    with pytest.raises(DataError):
        npz_arrays(tmp_path / "data.npz", WANTED)


def test_files_that_are_right_are_read(tmp_path: Path) -> None:
    values = pictures()
    for name, content in (("plain", idx(values)), ("packed.gz", gzip.compress(idx(values)))):
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(idx_array(tmp_path / name), values)
    (tmp_path / "data.npz").write_bytes(npz(x_train=np.asfortranarray(values)))
    np.testing.assert_array_equal(npz_arrays(tmp_path / "data.npz", ("x_train",))[0], values)
    assert len(IDX_NAMES) == 4
