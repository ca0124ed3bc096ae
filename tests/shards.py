"""Small data sets of pictures, stored as folders by class and as shards, with the same pictures in the same order."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import resnet_core as rn
from resnet_core.data.dataset import Dataset
from resnet_core.data.images import sample_fashion
from resnet_core.training.parallel.shards import Share
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe import Recipe

NAMES = ("ant", "bee", "cow")

#: (name, content) of a member of a tar file.
Member = tuple[str, bytes]


def pictures(count: int, *, first: int = 0, classes: int = 3) -> list[tuple[str, bytes, int]]:
    """(name, a JPEG or PNG of a size of its own, class), by class and name."""
    found = []
    for number, picture in enumerate(sample_fashion()[0][first : first + count], start=first):
        kind, written = ("JPEG", "PNG")[number % 2], io.BytesIO()
        Image.fromarray(picture[..., 0]).convert("RGB").resize((20 + number % 9, 31 - number % 7)).save(written, kind)
        found.append((f"{number:03}.{'jpg' if kind == 'JPEG' else 'png'}", written.getvalue(), number % classes))
    return sorted(found, key=lambda each: (each[2], each[0]))


def write_folder(folder: Path, names: Sequence[str], train: int = 25, test: int = 8) -> Path:
    """By class, `names` are theirs."""
    for part, found in (("train", pictures(train)), ("test", pictures(test, first=train))):
        for name, content, label in found:
            place = folder / part / names[label]
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    return folder


def write_tar(path: Path, members: Iterable[Member]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def samples(found: Sequence[tuple[str, bytes, int]], names: Sequence[str] | None = None) -> list[Member]:
    """Each picture, then its class: by number, or by name."""
    members = []
    for name, content, label in found:
        members += [(name, content), (f"{name[:3]}.cls", str(label if names is None else names[label]).encode())]
    return members


def write_tars(folder: Path, names: Sequence[str] | None = None, train: int = 25, test: int = 8) -> Path:
    """Three files to train on and one to test."""
    found = pictures(train)
    for number in range(3):
        own = found[number * len(found) // 3 : (number + 1) * len(found) // 3]
        write_tar(folder / f"train-{number:03}.tar", samples(own, names))
    write_tar(folder / "test-000.tar", samples(pictures(test, first=train), names))
    return folder


def write_parquet(
    path: Path,
    found: Sequence[tuple[str, bytes | None, int | None]],
    names: Sequence[str] | None = None,
    *,
    columns: tuple[str, str] = ("image", "label"),
    rows: int = 4,
) -> Path:
    """As `datasets` writes them, with so many rows in a group."""
    import pyarrow as pa
    from pyarrow import parquet

    image, label = columns
    about = {"_type": "ClassLabel", "names": list(names)} if names else {"_type": "Value", "dtype": "int64"}
    features = {image: {"_type": "Image"}, label: about}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [(image, kind), (label, pa.int64())],
        metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()},
    )
    table = pa.table(
        {
            image: [{"bytes": content, "path": name} for name, content, _ in found],
            label: [own for _, _, own in found],
        },
        schema=schema,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows)
    return path


def write_parquets(folder: Path, names: Sequence[str] | None = None, train: int = 25, test: int = 8) -> Path:
    """Two files to train on, one to test, and one whose classes nobody tells, as on the hub."""
    found, tested = pictures(train), pictures(test, first=train)
    write_parquet(folder / "data" / "train-00000-of-00002.parquet", found[:11], names)
    write_parquet(folder / "data" / "train-00001-of-00002.parquet", found[11:], names)
    write_parquet(folder / "data" / "validation-00000-of-00001.parquet", tested, names)
    hidden = [(name, content, -1) for name, content, _ in tested]
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", hidden, names)
    return folder


def pipeline(data: Dataset) -> Pipeline:
    fields: dict[str, Any] = {"crop_area": [0.3, 1], "mixup": 0.3, "flip": True, "resize": [12, 10]}
    plan = Recipe(learning_rate=0.1, epochs=2, batch_size=8, **fields)
    return Pipeline(data, plan, rn.spec("resnet20", classes=3), workers=2)


def require_same(data: Dataset, other: Dataset) -> None:
    """The same batches, of one process and of the last of three."""
    one, two = pipeline(data), pipeline(other)
    for (step, (images, labels)), (_, (expected, same)) in zip(one.batches(0, 8), two.batches(0, 8), strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, same)
        share = Share(2, 3)
        np.testing.assert_array_equal(one.batch(step, share.rows)[0], expected[share.rows(len(labels))])
    for (images, labels), (expected, same) in zip(one.test_batches(), two.test_batches(), strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, same)
