"""Parquet files as Hugging Face's `datasets` writes them for image classification, read by pyarrow in row groups.

A picture is a struct with its bytes, and its class an integer; the names of the classes are in the schema's metadata. A
row group is the least that can be read of a file, so some are kept, up to a bound in bytes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from resnet_core.data.index import Part
from resnet_core.data.shard_files import MOST_CLASSES
from resnet_core.data.tar_files import MOST_PICTURE, require_same
from resnet_core.errors import DataError, InputError, printable
from resnet_core.files import reading

ENDING = ".parquet"

#: Rows of a file; bytes of the pictures in a row group; bytes of the row groups that are kept.
MOST_ROWS = 10**8
MOST_GROUP = 2**31
KEPT = 2**28

_EXPECTED = "a Parquet file with pictures"


def part(root: Path, name: str, stamp: tuple[int, int], *, labeled: bool = True) -> Part:
    """The pictures in a Parquet file, by row. Raises DataError, one line.

    With `labeled`, there has to be a column of classes; without, it is left alone.
    """
    path = root / name
    opened = _opened(path)
    try:
        schema, metadata = opened.schema_arrow, opened.metadata
        image, label, classes = _columns(path, schema, labeled)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        rows = [group.num_rows for group in groups]
        if min(rows, default=0) < 0 or sum(rows) > MOST_ROWS or sum(rows) != metadata.num_rows:
            raise DataError(
                f"{path}: says it has {metadata.num_rows:,} rows, in groups of {sum(rows):,}; expected as many, and at "
                f"most {MOST_ROWS:,}"
            )
        for group in groups:
            # Of the whole group: pyarrow ends the process where it is asked for a column and that one is damaged.
            if group.total_byte_size > MOST_GROUP:
                raise DataError(
                    f"{path}: a row group has {group.total_byte_size:,} bytes; expected at most {MOST_GROUP:,}: write "
                    "it with a smaller row_group_size, such as 100"
                )
        labels = [_labels(path, opened, number, label, count) for number, count in enumerate(rows)]
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises almost anything on damaged data
        raise _damaged(path, error) from error
    finally:
        opened.close()
    flat = np.concatenate([np.zeros(0, np.int64), *labels]).tolist()
    entries = [(str(row), 0, row, own) for row, own in enumerate(flat)]
    return Part.of(name, entries, stamp, {"classes": classes, "image": image, "rows": rows})


class _Parquets:
    """The store of pictures in Parquet files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.groups = root, _Kept(KEPT)

    def path(self, part: Part, number: int) -> Path:
        return self.root / part.name / f"row {int(part.places[number])}"

    def content(self, part: Part, number: int) -> bytes:
        ends = np.cumsum(part.about["rows"])
        row = int(part.places[number])
        group = int(np.searchsorted(ends, row, "right"))
        pictures = self.groups.get((part.name, group), lambda: self._read(part, group))
        try:
            found = pictures[row - int(ends[group]) + part.about["rows"][group]]["bytes"].as_py()
        except Exception as error:
            raise _damaged(self.root / part.name, error) from error
        if found is None or len(found) > MOST_PICTURE:
            has = "no bytes" if found is None else f"{len(found):,} bytes"
            raise DataError(
                f"{str(self.path(part, number))!r} has {has}, expected a picture of at most {MOST_PICTURE:,} bytes; "
                "write the data set with its pictures in it"
            )
        return bytes(found)

    def _read(self, part: Part, group: int) -> tuple[Any, int]:
        path = self.root / part.name
        with reading(path, _EXPECTED) as file:
            require_same(path, file, part)
        opened = _opened(path)
        try:
            found = opened.read_row_group(group, columns=[f"{part.about['image']}.bytes"], use_threads=False).column(0)
            if len(found) != part.about["rows"][group]:
                raise ValueError(f"{len(found):,} rows in a row group")
        except Exception as error:
            raise _damaged(path, error) from error
        finally:
            opened.close()
        return found, found.nbytes


def store(root: Path) -> _Parquets:
    """Where the pictures are read from."""
    return _Parquets(root)


class _Kept:
    """The values that were used last, up to a bound in bytes; each is read once, whoever asks at the same time."""

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0
        self.values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.lock, self.reading = Lock(), dict[Hashable, Lock]()

    def get(self, key: Hashable, read: Callable[[], tuple[Any, int]]) -> Any:
        """The value of this key; `read` returns it and its bytes."""
        with self.lock:
            own = self.reading.setdefault(key, Lock())
        with own:
            with self.lock:
                if key in self.values:
                    self.values.move_to_end(key)
                    return self.values[key][0]
            value, size = read()
            with self.lock:
                self.values[key] = value, size
                self.size += size
                while self.size > self.most and len(self.values) > 1:
                    old, (_, freed) = self.values.popitem(last=False)
                    self.reading.pop(old, None)
                    self.size -= freed
        return value


def _opened(path: Path) -> Any:
    """The file in pyarrow. Raises DataError."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f'{path}: is read by pyarrow, which is not installed: pip install "resnet-core[data]"'
        ) from error
    with reading(path, _EXPECTED):  # a pipe or a device may never end
        pass
    try:
        return parquet.ParquetFile(str(path))
    except Exception as error:
        raise _damaged(path, error) from error


def _columns(path: Path, schema: Any, labeled: bool) -> tuple[str, str | None, list[str] | None]:
    """(the pictures' column, the classes' column if it is wanted, the names of the classes if there are some)."""
    from pyarrow import types

    features = _features(schema)
    pictures = [field.name for field in schema if _has_bytes(field.type)]
    labels = [field.name for field in schema if types.is_integer(field.type)]
    told = [name for name in pictures if features.get(name, {}).get("_type") == "Image"]
    named = [name for name in labels if features.get(name, {}).get("_type") == "ClassLabel"]
    pictures, labels = told or pictures, named or [name for name in labels if name == "label"] or labels
    if len(pictures) == 1 and not labeled:
        return pictures[0], None, None
    if len(pictures) != 1 or len(labels) != 1:
        found = ", ".join(f"{printable(field.name)} ({printable(str(field.type))[:40]})" for field in list(schema)[:10])
        raise DataError(
            f"{path}: has the columns {found or 'none'}; expected one of pictures, a struct with bytes, and one of "
            "classes, integers, as datasets writes them"
        )
    classes = features.get(labels[0], {}).get("names")
    if classes is None:
        return pictures[0], labels[0], None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{path}: the names of its classes are no list of texts; write it again with datasets")
    if len(classes) > MOST_CLASSES or len(set(classes)) < len(classes):
        raise DataError(
            f"{path}: has {len(classes):,} names of classes, not all different; expected {MOST_CLASSES:,} at most"
        )
    return pictures[0], labels[0], classes


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What `datasets` says of the columns."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: about for name, about in found.items() if isinstance(about, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _has_bytes(kind: Any) -> bool:
    from pyarrow import types

    if not types.is_struct(kind):
        return False
    at = kind.get_field_index("bytes")
    return at >= 0 and (types.is_binary(kind.field(at).type) or types.is_large_binary(kind.field(at).type))


def _labels(path: Path, opened: Any, group: int, column: str | None, count: int) -> np.ndarray:
    if column is None:
        return np.full(count, -1)
    found = opened.read_row_group(group, columns=[column], use_threads=False).column(0)
    if len(found) != count or found.null_count:
        raise DataError(
            f"{path}: a row group has {len(found):,} classes, {found.null_count:,} of them missing; expected {count:,}"
        )
    labels = found.to_numpy().astype(np.int64)
    for bad in labels[(labels < -1) | (labels >= MOST_CLASSES)][:1].tolist():
        raise DataError(f"{path}: a label is {bad}; expected classes from 0 to {MOST_CLASSES - 1}")
    return labels


def _damaged(path: Path, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    reason = printable(" ".join(str(error).split()) or type(error).__name__)
    return DataError(f"{path}: not a whole Parquet file ({reason[:200]}); get a fresh copy")
