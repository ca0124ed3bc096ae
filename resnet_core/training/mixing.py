"""Mixing the rows of a batch, images and targets alike: mixup and cut-mix.

Every row gets a share of another one, its partner. The partners are a permutation of the batch, drawn from the seed
and the step; a row's share is drawn from the seed, the step and the row. So some rows can be mixed without the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from resnet_core.data.dataset import Box
from resnet_core.training.augmentation import PARTNERS, SHARES, generator
from resnet_core.training.recipe import Recipe


@dataclass(frozen=True)
class Mixing:
    """How rows are mixed: their `partners` (n,), rows of the batch, and `shares` (n,) float32 of the row itself.

    With `boxes`, cut-mix: the partner's pixels within the box, (top, left, height, width), and the row's own around it.
    Without, mixup: the weighted mean of both.
    """

    partners: np.ndarray
    shares: np.ndarray
    boxes: tuple[Box, ...] = ()

    def images(self, images: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The mixed images (n, height, width, channels), float32 like those of the rows and of their partners."""
        if self.boxes:
            mixed = images.copy()
            for row, (top, left, height, width) in enumerate(self.boxes):
                part = slice(top, top + height), slice(left, left + width)
                mixed[row][part] = others[row][part]
            return mixed
        shares = self.shares[:, None, None, None]
        return shares * images + (1 - shares) * others

    def targets(self, targets: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The mixed targets (n, classes), float64 like those of the rows and of their partners."""
        shares = self.shares.astype(np.float64)[:, None]
        return shares * targets + (1 - shares) * others


def mixing(recipe: Recipe, step: int, count: int, size: tuple[int, int], rows: np.ndarray) -> Mixing | None:
    """How these rows of the `count` images of `size` = (height, width) of this step are mixed; None if they are not.

    mixup: shares from Beta(a, a), Zhang et al. 2017 (arXiv:1710.09412), which has one for the whole batch.
    cutmix: boxes around a uniform center with that share of the picture left, Yun et al. 2019 (arXiv:1905.04899); a
    share is then counted in pixels, since a box may reach over the border.
    """
    strength = recipe.mixup or recipe.cutmix
    if not strength:
        return None
    partners = generator(recipe, PARTNERS, step).permutation(count)[rows]
    generators = [generator(recipe, SHARES, step, row) for row in rows.tolist()]
    shares = np.array([rng.beta(strength, strength) for rng in generators])
    if recipe.mixup:
        return Mixing(partners, shares.astype(np.float32))
    boxes = tuple(_box(rng, share, size) for rng, share in zip(generators, shares.tolist(), strict=True))
    own = [1 - height * width / (size[0] * size[1]) for _, _, height, width in boxes]
    return Mixing(partners, np.array(own, np.float32), boxes)


def _box(rng: np.random.Generator, share: float, size: tuple[int, int]) -> Box:
    half = math.sqrt(1 - share) / 2
    starts, stops = [], []
    for length in size:
        center, reach = int(rng.integers(length)), int(half * length)
        starts.append(max(center - reach, 0))
        stops.append(min(center + reach, length))
    return starts[0], starts[1], stops[0] - starts[0], stops[1] - starts[1]
