"""Real pictures as network input: the shipped samples, and files preprocessed as in torchvision.

Two terms: a *picture* is the stored form, a file or uint8 (height, width, channels); an *image* is the network's
input, float32 and channels last. `normalize` turns a picture into an image, (value / 255 - mean) / deviation, with
ImageNet's constants, or Fashion-MNIST's for a single channel.

Pillow is imported only when it is needed.
"""

from __future__ import annotations

import json
import os
import warnings
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnet_core.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
GRAY_MEAN = (0.2860,)
GRAY_DEVIATION = (0.3530,)

# The limit for a picture before and after resizing: resizing an extreme aspect ratio could grow without bound.
MAXIMUM_PIXELS = 89_478_485

_SAMPLES = Path(__file__).with_name("sample")


def sample_batch(size: tuple[int, int], channels: int, count: int = 4) -> np.ndarray:
    """A batch of images made from the shipped pictures, (count, height, width, channels) float32, normalized.

    Every fourth image, starting with the first, is the photo as `load_image` returns it (mirrored every other
    time); the rest are Fashion-MNIST test pictures in order, resized (bilinear) to `size` = (height, width).
    Raises InputError for a size, channels or count below 1.
    """
    from PIL import Image

    _check_shape(size, channels)
    _check_positive("count", count)
    fashion = cycle(sample_fashion()[0][..., 0])
    batch = np.empty((count, *size, channels), np.float32)
    for index in range(count):
        if index % 4 == 0:
            photo = load_image(_SAMPLES / "photo.jpg", size, channels)
            batch[index] = photo[:, ::-1] if index % 8 else photo
        else:
            gray = Image.fromarray(next(fashion)).resize(size[::-1], Image.Resampling.BILINEAR)
            batch[index] = normalize(gray, channels)
    return batch


def sample_fashion(count: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` (1 to 100) Fashion-MNIST test pictures, (count, 28, 28, 1) uint8, and labels (count,) int64.

    Raises InputError for any other count.
    """
    from PIL import Image

    if not 1 <= count <= 100:
        raise InputError(f"count is {count}: expected 1 to 100, the number of Fashion-MNIST pictures shipped")
    about = json.loads((_SAMPLES / "fashion_mnist.json").read_text(encoding="utf-8"))
    rows, columns, side = about["rows"], about["columns"], about["size"]
    with Image.open(_SAMPLES / "fashion_mnist.png") as sheet:
        grid = np.asarray(sheet).reshape(rows, side, columns, side)
    pictures = grid.transpose(0, 2, 1, 3).reshape(rows * columns, side, side, 1)
    return pictures[:count], np.array(about["labels"][:count], np.int64)


def load_image(path: str | os.PathLike[str], size: tuple[int, int], channels: int) -> np.ndarray:
    """The image from a picture file, (height, width, channels) float32, prepared as in torchvision.

    `size` = (height, width). The picture is rotated upright (EXIF), resized with antialiased bilinear
    filtering to the smallest size that covers (height, width) * 256 // 224 at its own aspect ratio, and
    center-cropped to `size`. For a square size this is torchvision's ImageClassification transform: shorter
    side to 256 for 224. One channel is luminance; otherwise the channels are red, green, blue, red, ...
    Transparent pixels are blended with white, and 16 bits per channel become 8.

    Raises InputError for a size or channels below 1, and for a file that is missing, not a picture, damaged or
    too large (over MAXIMUM_PIXELS, before or after resizing).
    """
    _check_shape(size, channels)
    return normalize(cover(read_picture(path, "L" if channels == 1 else "RGB"), size, path), channels)


def cover(picture: Image.Image, size: tuple[int, int], path: str | os.PathLike[str]) -> Image.Image:
    """The picture resized and cropped as `load_image` describes. Raises InputError, naming `path`, if too large."""
    from PIL import Image

    width, height = picture.size
    cover_height, cover_width = (length * 256 // 224 for length in size)
    if cover_width * height >= cover_height * width:
        resized = cover_width, cover_width * height // width
    else:
        resized = cover_height * width // height, cover_height
    if resized[0] * resized[1] > MAXIMUM_PIXELS:
        raise InputError(
            f"{str(path)!r} has {width}x{height} pixels and would be resized to {resized[0]}x{resized[1]}, "
            f"expected at most {MAXIMUM_PIXELS} pixels; crop it to a less extreme shape"
        )
    picture = picture.resize(resized, Image.Resampling.BILINEAR)
    top, left = round((resized[1] - size[0]) / 2), round((resized[0] - size[1]) / 2)
    return picture.crop((left, top, left + size[1], top + size[0]))


def read_picture(path: str | os.PathLike[str], mode: str) -> Image.Image:
    """The picture in a file: upright, in `mode` "L" or "RGB". Raises InputError as `load_image` does."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    expected = "expected a picture such as a JPEG or PNG"
    if Path(path).is_dir():
        raise InputError(f"{str(path)!r} is a folder, {expected}; name one file in it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                if picture.width * picture.height > MAXIMUM_PIXELS:
                    raise Image.DecompressionBombError
                picture.load()
                return _flatten(ImageOps.exif_transpose(picture)).convert(mode)
    except (FileNotFoundError, NotADirectoryError):
        problem = f"does not exist, {expected}; check the path"
    except PermissionError:
        problem = f"may not be read, {expected}; check the file's permissions"
    except UnidentifiedImageError:
        problem = f"is not a picture, {expected}; convert it or name another file"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        problem = f"is too large, expected at most {MAXIMUM_PIXELS} pixels; make it smaller first"
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data
        reason = " ".join(str(error).split()) or type(error).__name__
        problem = f"is damaged or unsupported ({reason}), {expected}; save it again as one or name another file"
    raise InputError(f"{str(path)!r} {problem}")


def _flatten(picture: Image.Image) -> Image.Image:
    """The picture as "RGB", 8 bits per channel, blended with white. Raises ValueError if this is impossible."""
    from PIL import Image

    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"gray values {values.min()} to {values.max()}, more than 16 bits")
        picture = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif picture.mode == "F":
        raise ValueError("floating-point pixels")
    elif picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture.convert("RGB")


def normalize(picture: Image.Image | np.ndarray, channels: int) -> np.ndarray:
    """The image (height, width, channels) float32 of an "L" or "RGB" picture or its uint8 array.

    If the picture has fewer channels than asked for, they are repeated cyclically.
    """
    pixels = np.asarray(picture, np.float32) / np.float32(255)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    means, deviations = (IMAGENET_MEAN, IMAGENET_DEVIATION) if channels > 1 else (GRAY_MEAN, GRAY_DEVIATION)
    order = np.arange(channels)
    mean = np.array(means, np.float32)[order % len(means)]
    deviation = np.array(deviations, np.float32)[order % len(deviations)]
    return (pixels[..., order % pixels.shape[2]] - mean) / deviation


def _check_shape(size: tuple[int, int], channels: int) -> None:
    if len(size) != 2:
        raise InputError(f"size is {size}: expected two numbers, (height, width)")
    _check_positive("height", size[0])
    _check_positive("width", size[1])
    _check_positive("channels", channels)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} is {value}: expected a whole number from 1 up")
