"""Real pictures: reading files, and the shipped samples.

Two terms: a *picture* is the stored form, a file or uint8 (height, width, channels); an *image* is the network's
input, float32 and channels last. `resnet_core.data.prepare` turns one into the other.

Pillow is imported only when it is needed.
"""

from __future__ import annotations

import io
import json
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from resnet_core.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

# The limit for a picture before and after resizing: resizing an extreme aspect ratio could grow without bound.
MAXIMUM_PIXELS = 89_478_485

#: Of a side: a picture of one row of millions of pixels takes long to be read and cannot be shown to a network.
MAXIMUM_SIDE = 100_000

#: How the names of pictures end.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

#: The folder of the shipped pictures.
SAMPLES = Path(__file__).with_name("sample")


def sample_fashion(count: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` (1 to 100) Fashion-MNIST test pictures, (count, 28, 28, 1) uint8, and labels (count,) int64.

    Raises InputError for any other count.
    """
    from PIL import Image

    if not 1 <= count <= 100:
        raise InputError(f"count is {count}: expected 1 to 100, the number of Fashion-MNIST pictures shipped")
    about = json.loads((SAMPLES / "fashion_mnist.json").read_text(encoding="utf-8"))
    rows, columns, side = about["rows"], about["columns"], about["size"]
    with Image.open(SAMPLES / "fashion_mnist.png") as sheet:
        grid = np.asarray(sheet).reshape(rows, side, columns, side)
    pictures = grid.transpose(0, 2, 1, 3).reshape(rows * columns, side, side, 1)
    return pictures[:count], np.array(about["labels"][:count], np.int64)


class _IgnoredWarnings:
    """No warnings, such as Pillow's about odd metadata, while any thread is inside.

    `warnings.catch_warnings` alone is for one thread: the filters are the process's, and whoever leaves last would
    restore what another had set.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.caught = Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.caught.__exit__(None, None, None)


_WARNINGS = _IgnoredWarnings()


def read_picture(path: str | os.PathLike[str], mode: str, content: bytes | None = None) -> Image.Image:
    """The picture in a file: upright (EXIF), in `mode` "L" or "RGB".

    Where there is `content`, it is the file's, and the path is how messages call it. Transparent pixels are blended
    with white, and 16 bits per channel become 8.
    Raises InputError for a file that is missing, not a picture, damaged or too large (over MAXIMUM_PIXELS).
    """
    from PIL import ImageOps

    with _opened(path, content) as picture:
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)  # each copy of a large picture is hundreds of megabytes
        flat = _flatten(picture)
        return flat.convert(mode) if flat.mode != mode or flat is picture else flat


def check_header(path: str | os.PathLike[str], content: bytes | None = None) -> None:
    """Raise InputError where `read_picture` would by the header alone; the pixels are not read."""
    with _opened(path, content):
        pass


@contextmanager
def _opened(path: str | os.PathLike[str], content: bytes | None) -> Iterator[Image.Image]:
    """The picture with its header read; what is raised inside is explained too."""
    from PIL import Image, UnidentifiedImageError

    expected = "expected a picture such as a JPEG or PNG"
    if content is None and os.path.isdir(path):  # noqa: PTH112 (which has no error for a name that is too long)
        raise InputError(f"{str(path)!r} is a folder, {expected}; name one file in it")
    try:
        if content is None and not stat.S_ISREG(Path(path).stat().st_mode):
            raise UnidentifiedImageError  # a pipe or a device may never end
        with _WARNINGS, Image.open(path if content is None else io.BytesIO(content)) as picture:
            if picture.width * picture.height > MAXIMUM_PIXELS:
                raise Image.DecompressionBombError
            if max(picture.size) > MAXIMUM_SIDE:
                raise ValueError(f"{max(picture.size)} pixels in a row, of {MAXIMUM_SIDE} at most")
            yield picture
            return
    except (FileNotFoundError, NotADirectoryError):
        problem = f"does not exist, {expected}; check the path"
        if str(path).startswith(("http:/", "https:/")):
            problem = f"is an address, {expected}; save it as a file first"
    except PermissionError:
        problem = f"may not be read, {expected}; check the file's permissions"
    except UnidentifiedImageError:
        problem = f"is not a picture, {expected}; convert it or name another file"
    except Image.DecompressionBombError:
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
    return picture if picture.mode == "RGB" else picture.convert("RGB")
