"""Color jitter of one picture: torchvision's ColorJitter on Pillow's pictures, with Pillow's own operations.

Every operation takes and returns whole numbers from 0 to 255: Pillow blends in floating point, clips to that range and
drops the fraction. A gray picture has no colors, so saturation and hue leave it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

#: The operations by the recipe's fields. A factor of 1, and for the hue 0, changes nothing.
OPERATIONS = ("brightness", "contrast", "saturation", "hue")


def jittered(pixels: np.ndarray, factors: Mapping[str, float], order: Sequence[str]) -> np.ndarray:
    """The picture (height, width, 1 or 3) uint8, changed by `factors` {operation: factor} in the given order.

    - brightness f: `f p`; contrast f: `f p + (1 - f) m` with m the rounded mean of the luminance; saturation f:
      `f p + (1 - f) l` with l the pixel's luminance (0.299 red + 0.587 green + 0.114 blue).
    - hue f: the hue in Pillow's HSV, of which 256 are the full circle, is turned by `f * 255`, without its fraction.
    """
    from PIL import Image, ImageEnhance

    gray = pixels.shape[2] == 1
    picture = Image.fromarray(pixels[..., 0] if gray else pixels)
    enhancers = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }
    for name in order:
        if name not in factors or (gray and name in ("saturation", "hue")):
            continue
        factor = factors[name]
        picture = _turned(picture, factor) if name == "hue" else enhancers[name](picture).enhance(factor)
    return np.asarray(picture).reshape(pixels.shape)


def _turned(picture: Image.Image, turn: float) -> Image.Image:
    from PIL import Image

    hsv = np.array(picture.convert("HSV"))
    hsv[..., 0] += np.uint8(int(turn * 255) % 256)  # wraps around, as a circle does
    return Image.fromarray(hsv, "HSV").convert("RGB")
