"""Readers of data sets: IDX files, CIFAR's binary files, .npz; folders of pictures and shards have files of their own.

Anything damaged or inconsistent raises DataError, one line that names the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resnet_core.data import parquet_files, tar_files
from resnet_core.data.archives import idx_array, npz_arrays, tar_members
from resnet_core.data.dataset import Crop, Dataset, Split
from resnet_core.data.folders import folder_dataset, holds_pictures, subfolders
from resnet_core.data.held_out import HoldOut
from resnet_core.data.pictures import Pictures
from resnet_core.data.prepare import cropped, fitted, pixels
from resnet_core.data.shard_files import (
    MOST_CLASSES,
    Reader,
    found_shards,
    require_plain,
    shard_pictures,
    shards_dataset,
)
from resnet_core.errors import DataError
from resnet_core.preparation import Preparation

CLASSES = {
    "fashion-mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}  # fmt: skip


#: What shards are read by; those of the first kind of which there are some.
SHARDS: tuple[Reader, ...] = (tar_files, parquet_files)


def read_dataset(name: str, path: Path, validation: HoldOut | None = None) -> Dataset:
    """The data set at `path`, in any supported form; `name` is used in messages and to look up class names.

    Of pictures without a test split, `validation` is held out. Raises DataError.
    """
    if path.suffix == ".npz" and path.is_file():
        return _npz(path)
    if path.is_dir() and (path / "cifar-10-binary.tar.gz").exists():
        return _cifar(name, path / "cifar-10-binary.tar.gz")
    train = path / "train" if (path / "train").is_dir() else path
    by_class = path.is_dir() and any(holds_pictures(train / each) for each in subfolders(train))
    for reader in () if by_class else SHARDS:
        if (shards := found_shards(path, reader.ENDING)) is not None:
            return shards_dataset(name, shards, reader, validation)
    if not path.is_dir():
        raise DataError(
            f"{path}: expected a folder of IDX files, a folder of pictures by class, .tar or .parquet files, or an "
            ".npz file"
        )
    if train != path or (by_class and not any(path.glob("*-ubyte*"))):
        return folder_dataset(name, path, train, validation)
    require_plain(path)
    return _idx(name, path)


def pictures_in_shards(path: Path) -> Pictures | None:
    """All pictures in the shards that a folder, a file or a pattern stands for; None if there are no shards."""
    for reader in SHARDS:
        if (shards := found_shards(path, reader.ENDING)) is not None:
            return shard_pictures(shards, reader)
    return None


def _arrays(
    name: str, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], where: Path
) -> Dataset:
    splits = []
    for part, pictures, labels in (("training", *train), ("test", *test)):
        pictures = pictures[..., None] if pictures.ndim == 3 else pictures
        if pictures.ndim != 4 or pictures.dtype != np.uint8 or not pictures.shape[0]:
            raise DataError(
                f"{where}: {part} pictures are {pictures.dtype} of shape {pictures.shape}; expected uint8 "
                "(count, height, width) or (count, height, width, channels)"
            )
        if labels.shape != pictures.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"{where}: {part} labels are {labels.dtype} of shape {labels.shape}; expected {len(pictures)} classes "
                "counted from 0"
            )
        if labels.max() >= MOST_CLASSES:
            raise DataError(f"{where}: a {part} label is {labels.max()}; expected classes from 0 to {MOST_CLASSES - 1}")
        splits.append(_array_split(pictures, labels.astype(np.int64)))
    count = 1 + max(int(split.labels.max()) for split in splits)
    if splits[0].size != splits[1].size or splits[0].channels != splits[1].channels:
        raise DataError(f"{where}: training and test pictures differ in size or channels")
    names = CLASSES.get(name, ())
    return Dataset(name, splits[0], splits[1], names if len(names) == count else tuple(map(str, range(count))))


def _array_split(pictures: np.ndarray, labels: np.ndarray) -> Split:
    own = (pictures.shape[1], pictures.shape[2])

    def read(indices: np.ndarray, preparation: Preparation, crop: Crop | None = None) -> np.ndarray:
        if crop is None and preparation.size == own:
            return pictures[indices]
        return np.stack([_fitted(pictures[index], preparation, row, crop) for row, index in enumerate(indices)])

    # Bilinear, like torchvision's Resize of a picture to (height, width), which D2L uses.
    return Split(labels, read, own, pictures.shape[3], "stretch")


def _fitted(picture: np.ndarray, preparation: Preparation, row: int, crop: Crop | None) -> np.ndarray:
    """Channel by channel, since Pillow has no pictures of two or of five."""
    from PIL import Image

    channels = [Image.fromarray(picture[..., index]) for index in range(picture.shape[2])]
    if crop is not None:
        box = crop(row, *picture.shape[:2])
        return np.concatenate([pixels(cropped(channel, box, preparation)) for channel in channels], axis=-1)
    return np.concatenate([pixels(fitted(channel, preparation, "")) for channel in channels], axis=-1)


def _idx(name: str, folder: Path) -> Dataset:
    """LeCun's format: two zero bytes, the data type (8: unsigned bytes), the rank, big-endian sizes, the values."""
    found = {}
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        candidates = [folder / f"{part}-ubyte.gz", folder / f"{part}-ubyte"]
        path = next((path for path in candidates if path.exists()), None)
        if path is None:
            raise DataError(
                f"{folder}: {part}-ubyte(.gz) is missing; expected four IDX files, or a folder of pictures for "
                "each class, perhaps in train/ and test/"
            )
        found[part] = idx_array(path)
    return _arrays(
        name,
        (found["train-images-idx3"], found["train-labels-idx1"]),
        (found["t10k-images-idx3"], found["t10k-labels-idx1"]),
        folder,
    )


def _cifar(name: str, path: Path) -> Dataset:
    """CIFAR-10's binary version: a class byte, then 3 x 32 x 32 bytes, for each picture."""
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for member, content in tar_members(path, ".bin"):
        data = np.frombuffer(content, np.uint8)
        if data.size == 0 or data.size % 3073:
            raise DataError(f"{path}: {member} has {data.size} bytes; expected a multiple of 3073")
        rows = data.reshape(-1, 3073)
        pictures = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        parts[Path(member).stem] = (np.ascontiguousarray(pictures), rows[:, 0])
    training = [parts[key] for key in sorted(parts) if key.startswith("data_batch")]
    if not training or "test_batch" not in parts:
        raise DataError(f"{path}: holds {', '.join(sorted(parts)) or 'nothing'}; expected data_batch_* and test_batch")
    train = (np.concatenate([pictures for pictures, _ in training]), np.concatenate([labels for _, labels in training]))
    return _arrays(name, train, parts["test_batch"], path)


def _npz(path: Path) -> Dataset:
    pictures, labels, test_pictures, test_labels = npz_arrays(path, ("x_train", "y_train", "x_test", "y_test"))
    return _arrays(path.stem, (pictures, labels.reshape(-1)), (test_pictures, test_labels.reshape(-1)), path)
