"""Splits of pictures that are read from where they are stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from resnet_core.data.dataset import Crop, Dataset, Split
from resnet_core.data.held_out import HoldOut, held_out
from resnet_core.data.images import read_picture
from resnet_core.data.pictures import Pictures
from resnet_core.data.prepare import cropped, fitted, picture_mode, pixels
from resnet_core.preparation import Preparation


def stored_split(pictures: Pictures, labels: np.ndarray) -> Split:
    """The split of these pictures, with their labels (n,) int64."""

    def read(indices: np.ndarray, preparation: Preparation, crop: Crop | None = None) -> np.ndarray:
        found = []
        for row, index in enumerate(indices.tolist()):
            path = pictures[index]
            picture = read_picture(path, picture_mode(preparation.channels), pictures.content(index))
            if crop is None:
                picture = fitted(picture, preparation, path)
            else:
                picture = cropped(picture, crop(row, picture.height, picture.width), preparation)
            found.append(pixels(picture))
        return np.stack(found)

    return Split(labels, read, None, None, "cover", pictures)


def held_out_dataset(
    name: str, pictures: Pictures, labels: np.ndarray, names: Sequence[str], classes: tuple[str, ...], rule: HoldOut
) -> Dataset:
    """The data set of pictures that are all for training, of which a share is held out by their `names`."""
    chosen = held_out(names, labels, classes, rule)
    kept, taken = (
        stored_split(Pictures(pictures.catalog, np.asarray(pictures.numbers)[rows], pictures.store), labels[rows])
        for rows in (np.flatnonzero(~chosen), np.flatnonzero(chosen))
    )
    return Dataset(name, kept, taken, classes, rule.share)
