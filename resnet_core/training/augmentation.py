"""Augmentation of a batch, row by row: random resized crop, color jitter, colored light, cut-out.

Each number is drawn for one row, from the seed, the purpose, the step and the row. So a row does not depend on the
others, nor one augmentation on whether there is another, and nothing has to be saved to resume a run.
`docs/training.md` has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from resnet_core.data.dataset import Box, Crop
from resnet_core.data.jitter import OPERATIONS, jittered
from resnet_core.training.recipe import Recipe

#: The purpose of a generator, the second number of its seed; the pipeline has 0 and 1, random layers 7.
CROP, COLOR, CUTOUT, PARTNERS, SHARES, LIGHT = 2, 3, 4, 5, 6, 8

#: The principal components of the colors (red, green, blue, from 0 to 1) of ImageNet's pixels, one in each column, and
#: their variances: the constants of Facebook's training of ResNets (fb.resnet.torch), and of most programs since.
COMPONENTS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
VARIANCES = np.array([0.2175, 0.0188, 0.0045])

#: How often a crop of random area and shape is tried before the largest in the center is taken.
TRIES = 10


def generator(recipe: Recipe, purpose: int, step: int, row: int = 0) -> np.random.Generator:
    """The source of a row's random numbers for one purpose."""
    return np.random.default_rng([recipe.seed, purpose, step, row])


def random_crop(recipe: Recipe, step: int, size: tuple[int, int], rows: Sequence[int]) -> Crop | None:
    """Where the pictures of these rows of a batch are cropped to `size` in this step; None if they are not."""
    area, sides = recipe.crop_area, recipe.crop_side
    if area is None and sides is None:
        return None

    def crop(number: int, height: int, width: int) -> Box:
        rng = generator(recipe, CROP, step, rows[number])
        if sides is not None:
            return scaled_box(rng, height, width, sides, size)
        assert area is not None
        return crop_box(rng, height, width, area, recipe.crop_ratio)

    return crop


def crop_box(
    rng: np.random.Generator, height: int, width: int, area: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """A random part of a picture: torchvision's RandomResizedCrop (Szegedy et al. 2014, arXiv:1409.4842, section 6).

    Its share of the area is uniform in `area`, the logarithm of its width / height uniform in those of `ratio`, and its
    place uniform. If TRIES of them do not fit, the largest part in the center whose shape is allowed.
    """
    logarithms = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(TRIES):
        pixels = height * width * rng.uniform(*area)
        shape = math.exp(rng.uniform(*logarithms))
        own_width, own_height = round(math.sqrt(pixels * shape)), round(math.sqrt(pixels / shape))
        if 0 < own_width <= width and 0 < own_height <= height:
            top = int(rng.integers(0, height - own_height + 1))
            left = int(rng.integers(0, width - own_width + 1))
            return top, left, own_height, own_width
    own_width, own_height = width, height
    if width / height < ratio[0]:
        own_height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        own_width = max(1, round(height * ratio[1]))
    return (height - own_height) // 2, (width - own_width) // 2, own_height, own_width


def scaled_box(rng: np.random.Generator, height: int, width: int, sides: tuple[int, int], size: tuple[int, int]) -> Box:
    """The random part of a picture that has this `size` once its shorter side is one of `sides`, both included.

    He et al. 2015, section 3.4. The part is stretched to `size` alone, which is the same to within the rounding of its
    place and sides to pixels of the picture.
    """
    scale = min(height, width) / int(rng.integers(sides[0], sides[1] + 1))
    own_height, own_width = (max(1, round(length * scale)) for length in size)
    top = int(rng.integers(0, height - own_height + 1))
    left = int(rng.integers(0, width - own_width + 1))
    return top, left, own_height, own_width


def recolored(recipe: Recipe, pictures: np.ndarray, step: int, rows: Sequence[int]) -> np.ndarray:
    """The pictures of `rows`, (rows, height, width, 1 or 3) uint8, with jittered colors, each in an order of its own.

    A factor is uniform in [max(0, 1 - s), 1 + s] for brightness, contrast and saturation of strength s, and in [-s, s]
    for the hue: torchvision's ColorJitter. All are drawn, whatever the recipe asks, so that each is independent. With
    `lighting`, float32 pictures in another light.
    """
    return lit(recipe, _jittered(recipe, pictures, step, rows), step, rows)


def _jittered(recipe: Recipe, pictures: np.ndarray, step: int, rows: Sequence[int]) -> np.ndarray:
    strengths = {name: getattr(recipe, name) for name in OPERATIONS if getattr(recipe, name)}
    if not strengths:
        return pictures
    generators = (generator(recipe, COLOR, step, row) for row in rows)
    return np.stack([_recolored(*each, strengths) for each in zip(pictures, generators, strict=True)])


def _recolored(picture: np.ndarray, rng: np.random.Generator, strengths: dict[str, float]) -> np.ndarray:
    order = [OPERATIONS[index] for index in rng.permutation(len(OPERATIONS))]
    shares = dict(zip(OPERATIONS, rng.random(len(OPERATIONS)).tolist(), strict=True))
    factors = {}
    for name, strength in strengths.items():
        low, high = (-strength, strength) if name == "hue" else (max(0.0, 1 - strength), 1 + strength)
        factors[name] = low + (high - low) * shares[name]
    return jittered(picture, factors, order)


def lit(recipe: Recipe, pictures: np.ndarray, step: int, rows: Sequence[int]) -> np.ndarray:
    """The pictures of `rows` with one color added to all pixels of each: Krizhevsky et al. 2012, section 4.1.

    Along each principal component of ImageNet's colors it is a normal number of deviation `lighting`, times the
    component's variance. Nothing is clipped: float32, from 0 to 255 and a little beyond. Gray pictures are left alone.
    """
    if not recipe.lighting or pictures.shape[-1] != 3:
        return pictures
    draws = [generator(recipe, LIGHT, step, row).normal(0, recipe.lighting, 3) for row in rows]
    # No product of matrices, which rounds as the number of rows has it.
    colors = ((np.array(draws) * VARIANCES)[:, None, :] * COMPONENTS).sum(-1) * 255
    return pictures + colors[:, None, None, :].astype(np.float32)


def cut_out(recipe: Recipe, images: np.ndarray, step: int, rows: Sequence[int]) -> np.ndarray:
    """The images of `rows` with a square of zeros in each, which is the mean: DeVries & Taylor 2017, arXiv:1708.04552.

    Its center is uniform over the pixels, so that a part of it may lie outside. `images` are normalized, and changed
    in place.
    """
    side = recipe.cutout
    if side:
        height, width = images.shape[1:3]
        for image, (row, column) in zip(images, _centers(recipe, images.shape, step, rows), strict=True):
            top, left = row - side // 2, column - side // 2
            bottom, right = min(top + side, height), min(left + side, width)
            image[max(top, 0) : bottom, max(left, 0) : right] = 0
    return images


def _centers(recipe: Recipe, shape: tuple[int, ...], step: int, rows: Sequence[int]) -> Iterable[tuple[int, int]]:
    for row in rows:
        rng = generator(recipe, CUTOUT, step, row)
        yield int(rng.integers(shape[1])), int(rng.integers(shape[2]))
