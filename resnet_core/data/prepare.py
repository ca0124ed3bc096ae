"""From pictures to images as a preparation says, with Pillow and NumPy, the same for every backend."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import cycle
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from resnet_core.data.images import MAXIMUM_PIXELS, SAMPLES, read_picture, sample_fashion
from resnet_core.errors import InputError
from resnet_core.preparation import Preparation, standard_preparation

if TYPE_CHECKING:
    from PIL import Image


def prepared_image(path: str | os.PathLike[str], preparation: Preparation, content: bytes | None = None) -> np.ndarray:
    """The image (height, width, channels) float32 from a picture file, or from its `content`.

    Raises InputError, naming the file, as `read_picture` and `fitted` do.
    """
    picture = read_picture(path, picture_mode(preparation.channels), content)
    return normalized(pixels(fitted(picture, preparation, path)), preparation)


def load_image(path: str | os.PathLike[str], size: tuple[int, int], channels: int) -> np.ndarray:
    """`prepared_image` with the standard preparation for `size` = (height, width).

    Raises InputError for a size or channels below 1, too.
    """
    _check_shape(size, channels)
    return prepared_image(path, standard_preparation(size, channels))


def load_images(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], preparation: Preparation
) -> np.ndarray:
    """Images (count, height, width, channels) float32 of one or several picture files.

    Of a run or a file of weights, `trained_network(…).preparation` is the preparation. Raises as `prepared_image`.
    """
    if not isinstance(preparation, Preparation):
        raise InputError(
            f"preparation: received a {type(preparation).__name__}; expected a Preparation, such as "
            "trained_network(run).preparation"
        )
    named = [files] if isinstance(files, str | os.PathLike) else list(files)
    if not named:
        return np.empty((0, *preparation.size, preparation.channels), np.float32)
    return np.stack([prepared_image(file, preparation) for file in named])


def sample_images(preparation: Preparation, count: int = 4) -> np.ndarray:
    """A batch of images made from the shipped pictures, (count, height, width, channels) float32.

    Every fourth image, starting with the first, is the photo as `prepared_image` returns it (mirrored every other
    time); the rest are Fashion-MNIST test pictures in order, resized (bilinear) to the preparation's size.
    Raises InputError for a count below 1.
    """
    from PIL import Image

    _check_positive("count", count)
    height, width = preparation.size
    fashion = cycle(sample_fashion()[0][..., 0])
    batch = np.empty((count, height, width, preparation.channels), np.float32)
    for index in range(count):
        if index % 4 == 0:
            photo = prepared_image(SAMPLES / "photo.jpg", preparation)
            batch[index] = photo[:, ::-1] if index % 8 else photo
        else:
            gray = Image.fromarray(next(fashion)).resize((width, height), Image.Resampling.BILINEAR)
            batch[index] = normalized(pixels(gray), preparation)
    return batch


def sample_batch(size: tuple[int, int], channels: int, count: int = 4) -> np.ndarray:
    """`sample_images` with the standard preparation. Raises InputError for a size, channels or count below 1."""
    _check_shape(size, channels)
    return sample_images(standard_preparation(size, channels), count)


def picture_mode(channels: int) -> str:
    """Pillow's mode in which pictures are read for images of `channels`."""
    return "L" if channels == 1 else "RGB"


def pixels(picture: Image.Image) -> np.ndarray:
    """(height, width, channels) uint8, with one channel too."""
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def fitted(picture: Image.Image, preparation: Preparation, path: str | os.PathLike[str]) -> Image.Image:
    """The picture at the preparation's size: stretched, or resized to cover it and cropped in the center.

    Raises InputError, naming `path`, if it would be larger than MAXIMUM_PIXELS on the way.
    """
    height, width = preparation.size
    if preparation.resize == "stretch":
        return _resized(picture, (width, height), preparation)
    own_width, own_height = picture.size
    cover_height, cover_width = (floor(length / preparation.crop) for length in (height, width))
    if cover_width * own_height >= cover_height * own_width:
        size = cover_width, cover_width * own_height // own_width
    else:
        size = cover_height * own_width // own_height, cover_height
    if size[0] * size[1] > MAXIMUM_PIXELS:
        raise InputError(
            f"{str(path)!r} has {own_width}x{own_height} pixels and would be resized to {size[0]}x{size[1]}, "
            f"expected at most {MAXIMUM_PIXELS} pixels; crop it to a less extreme shape"
        )
    picture = _resized(picture, size, preparation)
    top, left = round((size[1] - height) / 2), round((size[0] - width) / 2)
    return picture.crop((left, top, left + width, top + height))


def cropped(picture: Image.Image, box: tuple[int, int, int, int], preparation: Preparation) -> Image.Image:
    """The part (top, left, height, width) of the picture, stretched to the preparation's size."""
    top, left, height, width = box
    part = picture.crop((left, top, left + width, top + height))
    return _resized(part, (preparation.size[1], preparation.size[0]), preparation)


def normalized(pictures: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Images (…, height, width, channels) float32 of pixels from 0 to 255, (…, height, width, own channels).

    Pictures with fewer channels than asked for have theirs repeated in turn: gray becomes three times gray.
    """
    found = pictures
    if found.shape[-1] != preparation.channels:
        found = found[..., np.arange(preparation.channels) % found.shape[-1]]
    if preparation.channel_order == "bgr":
        found = found[..., ::-1]
    images = found.astype(np.float32)
    if preparation.mean_picture is not None:
        shape = (*preparation.size, preparation.channels)
        images -= np.frombuffer(preparation.mean_picture, "<f4").reshape(shape)
    if preparation.white != 255:
        images /= np.float32(255)
        if preparation.white != 1:
            images *= np.float32(preparation.white)
    if preparation.mean is not None:
        images -= np.array(preparation.mean, np.float32)
    if preparation.deviation is not None:
        images /= np.array(preparation.deviation, np.float32)
    return images


def _resized(picture: Image.Image, size: tuple[int, int], preparation: Preparation) -> Image.Image:
    from PIL import Image

    filters = Image.Resampling
    method = filters[preparation.interpolation.upper()]
    if preparation.antialias or method not in (filters.BILINEAR, filters.BICUBIC):
        return picture.resize(size, method)
    # Pillow's resize always widens the filter where a picture shrinks; its transform looks at the neighbors only.
    shrinks = (min(size[0], picture.width), min(size[1], picture.height))
    if shrinks != picture.size:
        scale = (picture.width / shrinks[0], picture.height / shrinks[1])
        affine = (scale[0], 0.0, 0.0, 0.0, scale[1], 0.0)
        picture = picture.transform(shrinks, Image.Transform.AFFINE, affine, method)
    return picture if picture.size == size else picture.resize(size, method)


def _check_shape(size: tuple[int, int], channels: int) -> None:
    if len(size) != 2:
        raise InputError(f"size is {size}: expected two numbers, (height, width)")
    _check_positive("height", size[0])
    _check_positive("width", size[1])
    _check_positive("channels", channels)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} is {value}: expected a whole number from 1 up")
