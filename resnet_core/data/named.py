"""Data sets by name or path. Named ones are downloaded if they are missing, and their checksums verified."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from resnet_core.data.dataset import Dataset
from resnet_core.data.download import DownloadError, download
from resnet_core.data.held_out import HoldOut
from resnet_core.data.readers import read_dataset
from resnet_core.data.shard_files import is_pattern
from resnet_core.errors import DataError
from resnet_core.files import reading


@dataclass(frozen=True)
class Download:
    """The source of a named data set: {file: md5}, below `url`."""

    url: str
    files: dict[str, str]


NAMED = {
    "fashion-mnist": Download(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "mnist": Download(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "cifar10": Download(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}
    ),
}


def dataset(
    source: str | Path, folder: str | Path | None = None, *, validation: float | None = None, seed: int = 0
) -> Dataset:
    """A data set by name, from a folder of IDX files or of pictures (`train/CLASS/…`, `test/CLASS/…`), or from an .npz.

    Or from tar files in WebDataset's layout, or Parquet files as Hugging Face's `datasets` writes them: a folder of
    them, one, or a pattern such as `{train,val}-{000..012}.tar`.
    Of pictures without a test split, or of classes without `train/` (`CLASS/…`), the share `validation` of every
    class is held out, drawn from the seed; data with a test split of its own is left as it is.

    A named data set is looked for in `folder` itself, then in `folder`/NAME, and downloaded to the latter; the folder
    defaults to $RESNET_DATA or ~/.cache/resnet. Raises DataError, one line, for anything that cannot be found or read.
    """
    rule = None if validation is None else HoldOut(validation, seed)
    if str(source) in NAMED:
        name = str(source)
        return read_dataset(name, _place(name, Path(folder) if folder is not None else default_folder()))
    path = Path(source)
    if not path.exists() and not is_pattern(path):
        raise DataError(
            f"data: received {str(source)!r}; expected {', '.join(NAMED)}, a folder, or an .npz, .tar or .parquet file"
        )
    return read_dataset(path.absolute().name, path, rule)


def default_folder() -> Path:
    """The default folder for named data sets."""
    return Path(os.environ.get("RESNET_DATA") or Path.home() / ".cache" / "resnet")


def _place(name: str, folder: Path) -> Path:
    """The folder with the named data set, downloaded if necessary."""
    files = NAMED[name].files
    for place in (folder, folder / name):
        if all((place / file).exists() or (place / file.removesuffix(".gz")).exists() for file in files):
            _require_published(name, place)
            return place
    _download(name, folder / name)
    return folder / name


def _require_published(name: str, place: Path) -> None:
    """Raise DataError for a file that is not the published one; one that was unpacked has nothing to be compared."""
    for file, digest in NAMED[name].files.items():
        if not os.path.lexists(place / file):
            continue
        with reading(place / file, f"a file of {name}") as opened:
            found = hashlib.file_digest(opened, "md5").hexdigest()  # type: ignore[arg-type]
        if found != digest:
            raise DataError(
                f"{place / file}: is not {name}'s file, or it is damaged: its MD5 is {found}, the published one's is "
                f"{digest}; remove it to have it downloaded, or name its folder as the data"
            )


def _download(name: str, folder: Path) -> None:
    source = NAMED[name]
    for file, digest in source.files.items():
        try:
            download(source.url + file, folder / file, f"md5:{digest}")
        except DownloadError as error:
            raise DataError(
                f"data: {name} is not in {folder.parent}, and {source.url}{file} could not be downloaded ({error}); "
                "put its files there, or name their folder as data_dir"
            ) from error
