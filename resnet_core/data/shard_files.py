"""Data sets whose pictures are in a few large files, shards: which files there are, and which are for testing.

What a shard is for is in its name, or in the name of a folder that it is in below the data set's: the word `train`, or
one of `test`, `val` and `validation`, between anything that is no letter.
"""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from resnet_core.cores import cores
from resnet_core.data.dataset import Dataset
from resnet_core.data.folders import TESTS
from resnet_core.data.held_out import HoldOut
from resnet_core.data.index import Index, Part, known
from resnet_core.data.pictures import Pictures, Store
from resnet_core.data.stored import held_out_dataset, stored_split
from resnet_core.errors import DataError, printable
from resnet_core.fields import require_characters

TRAIN = "train"

#: Classes of a data set: more than any has, and few enough to be counted.
MOST_CLASSES = 100_000

#: What is said of compressed files.
PLAIN = "expected plain .tar files, since pictures are read from their places; unpacked, they are hardly larger"

#: Files that a pattern may stand for.
_MOST_FILES = 100_000

#: Folders within each other below the data set's in which shards are looked for.
_DEEP = 3

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Reader(Protocol):
    """What reads shards of one kind."""

    #: The ending of the files, such as ".tar".
    ENDING: str

    def part(self, root: Path, name: str, stamp: tuple[int, int], *, labeled: bool = True) -> Part:
        """The pictures in the file `name` below `root`, with their classes unless those do not matter.

        Raises InputError.
        """
        ...

    def store(self, root: Path) -> Store: ...


@dataclass(frozen=True)
class Shards:
    """Files of one kind below `root`, by their names there; `key` is what the user called them."""

    key: str
    root: Path
    names: tuple[str, ...]


def found_shards(path: Path, ending: str) -> Shards | None:
    """The shards that a folder, a file or a pattern such as `train-{000..012}.tar` stands for; None for none.

    In a pattern, `{000..012}` is every number, `{train,val}` either word, and `*`, `?` and `[…]` are those of a shell.
    Raises DataError for a file of a pattern that is not there.
    """
    if path.is_dir():
        depths = ("/".join("*" * depth) for depth in range(1, _DEEP + 1))
        found = [each for depth in depths for each in path.glob(f"{depth}{ending}") if each.is_file()]
        return Shards(str(path.absolute()), path, _names(path, found)) if found else None
    if path.suffix != ending:
        return None
    if path.exists():
        return Shards(str(path.absolute()), path.parent, (path.name,))
    if not is_pattern(path):
        return None
    root = next(each for each in path.parents if not is_pattern(each))
    found = []
    for name in _expanded(str(path)):
        own = sorted(map(Path, glob.glob(name))) if glob.has_magic(name) else [Path(name)]  # noqa: PTH207
        if not own or not own[0].exists():
            raise DataError(f"{name}: no such file; expected those that {path} stands for")
        found += own
    return Shards(str(path.absolute()), root, _names(root, found))


def require_plain(folder: Path) -> None:
    """Raise DataError for a folder of compressed tar files."""
    for ending in (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"):
        for each in folder.glob(f"*{ending}"):
            raise DataError(f"{each}: is compressed; {PLAIN}")


def is_pattern(path: Path) -> bool:
    """Whether it stands for several files, and is none itself."""
    return not path.exists() and (glob.has_magic(str(path)) or _BRACES.search(str(path)) is not None)


def shards_dataset(name: str, shards: Shards, reader: Reader, validation: HoldOut | None) -> Dataset:
    """The data set in these files; where none is for testing, `validation` is held out. Raises DataError."""
    uses = _uses(shards)
    old = known(shards.key, reader.ENDING)

    def parts(names: Sequence[str]) -> list[Part]:
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(lambda each: _part(shards.root, each, reader, old.get(each)), names))

    train = parts(uses[TRAIN])
    candidates = (parts(uses[word]) for word in TESTS if uses[word])
    test = next((found for found in candidates if not all((part.labels < 0).all() for part in found)), None)
    if test is None and validation is None:
        raise DataError(
            f"{shards.key}: no {reader.ENDING} file with labels is called test, val or validation; hold out a share "
            "of its pictures with validation = 0.2"
        )
    index = Index(shards.key, reader.ENDING, [*train, *(test or ())], old)
    index.keep()
    classes, labels = _classes(shards.root, train, test or [])
    store, count = reader.store(shards.root), sum(map(len, train))
    for split, found in ((train, labels[:count]), (test, labels[count:])):
        if split is not None and not len(found):
            raise DataError(f"{shards.root / split[0].name}: no pictures; expected some in {len(split)} files like it")
    pictures = Pictures(index, range(count), store)
    if test is None:
        assert validation is not None
        names = [f"{part.name}/{each}" for part in train for each in part.pictures()]
        return held_out_dataset(name, pictures, labels, names, classes, validation)
    tested = Pictures(index, range(count, len(labels)), store)
    return Dataset(name, stored_split(pictures, labels[:count]), stored_split(tested, labels[count:]), classes)


def shard_pictures(shards: Shards, reader: Reader) -> Pictures:
    """All pictures in these files, whatever their classes. Raises DataError."""
    parts = [_part(shards.root, name, reader, None, labeled=False) for name in shards.names]
    index = Index(shards.key, reader.ENDING, parts, {})
    return Pictures(index, range(int(index.starts[-1])), reader.store(shards.root))


def _part(root: Path, name: str, reader: Reader, old: Part | None, *, labeled: bool = True) -> Part:
    try:
        found = (root / name).stat()
    except OSError as error:
        raise DataError(f"{root / name}: cannot be read ({error.strerror}); expected a {reader.ENDING} file") from error
    stamp = (found.st_size, found.st_mtime_ns)
    return old if old is not None and old.stamp == stamp else reader.part(root, name, stamp, labeled=labeled)


def _uses(shards: Shards) -> dict[str, list[str]]:
    """{what they are for: files}; all are for training where none says what it is for."""
    found: dict[str, list[str]] = {word: [] for word in (TRAIN, *TESTS)}
    silent: list[str] = []
    for name in shards.names:
        words = set(re.split(r"[^a-z]+", name.lower())) & found.keys()
        if len(words) > 1:
            raise DataError(f"{shards.root / name}: is called {' and '.join(sorted(words))}; expected one of them")
        (found[words.pop()] if words else silent).append(name)
    if silent and any(found.values()):
        raise DataError(
            f"{shards.root / silent[0]}: does not say what it is for, and others do; expected the word train, test, "
            "val or validation in its name, or in its folder's"
        )
    found[TRAIN] += silent
    if not found[TRAIN]:
        raise DataError(f"{shards.key}: no file is called train; expected some to train on")
    return found


def _classes(root: Path, train: Sequence[Part], test: Sequence[Part]) -> tuple[tuple[str, ...], np.ndarray]:
    """(the names of the classes, all labels): `about` has a part's own names, or none where labels are numbers."""
    filled = [part for part in (*train, *test) if len(part)]
    named = [part for part in filled if part.about["classes"] is not None]
    if named and len(named) < len(filled):
        other = next(part for part in filled if part.about["classes"] is None)
        raise DataError(
            f"{root / other.name}: its classes are numbers, and those of {root / named[0].name} have names; expected "
            "either"
        )
    for part in filled:
        most = len(part.about["classes"]) if named else MOST_CLASSES
        for bad in part.labels[(part.labels < 0) | (part.labels >= most)][:1].tolist():
            raise DataError(f"{root / part.name}: a label is {bad}; expected classes from 0 to {most - 1}")
    if not named:
        labels = np.concatenate([np.zeros(0, np.int64), *(part.labels for part in filled)]).astype(np.int64)
        return tuple(map(str, range(1 + int(labels.max(initial=-1))))), labels
    classes = _ordered([part.about["classes"] for part in train if len(part)])
    numbers = {name: number for number, name in enumerate(classes)}
    found = [np.zeros(0, np.int64)]
    for part in filled:
        for name in part.about["classes"]:
            require_characters(str(root / part.name), name, DataError)
            if name not in numbers:
                raise DataError(
                    f"{root / part.name}: the class {printable(name)!r} is not among those to train on: "
                    f"{', '.join(map(printable, classes[:50]))}"
                )
        found.append(np.array([numbers[name] for name in part.about["classes"]], np.int64)[part.labels])
    return classes, np.concatenate(found)


def _ordered(names: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The classes of several files: in the order of the first if all have the same, and otherwise by name."""
    if all(each == names[0] for each in names):
        return tuple(names[0])
    return tuple(sorted(set(itertools.chain(*names))))


def _names(root: Path, files: Sequence[Path]) -> tuple[str, ...]:
    return tuple(sorted({each.relative_to(root).as_posix() for each in files}))


def _expanded(pattern: str) -> list[str]:
    """The names that braces stand for, in order."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    words = found[1].split(",")
    if (numbers := _RANGE.fullmatch(found[1])) is not None:
        first, last = int(numbers[1]), int(numbers[2])
        if last - first >= _MOST_FILES:
            raise DataError(f"{pattern}: stands for more than {_MOST_FILES:,} files; expected fewer")
        words = [str(number).zfill(len(numbers[1])) for number in range(first, last + 1)]
    return [rest for word in words for rest in _expanded(pattern[: found.start()] + word + pattern[found.end() :])]
