"""Batches as a pure function of the step: shuffled, augmented and normalized in the same way for every backend.

No state is kept between batches. The order of an epoch depends on the seed and the epoch, the augmentation of a
batch on the seed and the step. So a run can be resumed from its step alone, any batch can be inspected by itself,
and several processes could each take a part of a global batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from math import prod

import numpy as np
from msgspec.structs import replace

from resnet_core.data.dataset import Dataset, Size
from resnet_core.data.jitter import OPERATIONS
from resnet_core.data.prepare import normalized
from resnet_core.errors import DataError
from resnet_core.preparation import Inputs, Preparation
from resnet_core.specification import ResNetSpec
from resnet_core.training.augmentation import cut_out, random_crop, recolored
from resnet_core.training.mixing import mixing
from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import steps_per_epoch, total_steps
from resnet_core.training.targets import target_distribution

Batch = tuple[np.ndarray, np.ndarray]

#: The purpose of a random generator, which is the second number of its seed.
_ORDER, _AUGMENT = 0, 1

#: Values of a batch of images, 8 GiB of float32: 8,192 pictures of 224 x 224 are 4.6.
MOST_VALUES = 2**31

#: Pictures in an evaluation batch.
EVALUATION_BATCH = 500


class Pipeline:
    """Training and test batches for a data set, a recipe and a network. Raises InputError if they do not fit."""

    def __init__(self, data: Dataset, recipe: Recipe, spec: ResNetSpec) -> None:
        self.data, self.recipe = data, recipe
        self.size: Size = recipe.resize or data.train.size or spec.input_size
        self.channels = spec.in_channels
        self._check(spec)
        self._resizing = Preparation(size=self.size, channels=self.channels, resize=data.train.resize)
        self.steps_per_epoch = steps_per_epoch(recipe, len(data.train))
        if not self.steps_per_epoch:
            raise DataError(
                f"{data.name}: {len(data.train)} pictures fill no batch of {recipe.batch_size}; "
                "use a smaller batch_size, or drop_last = false"
            )
        values = prod(self.batch_shapes()[0])
        if values > MOST_VALUES:
            raise DataError(
                f"{data.name}: a batch of {self.batch_shapes()[0][0]} pictures at {self.size[0]}x{self.size[1]} has "
                f"{values:,} values; expected at most {MOST_VALUES:,}: use a smaller batch_size, or resize"
            )
        self.total_steps = total_steps(recipe, self.steps_per_epoch)
        self._order = lru_cache(maxsize=1)(self._draw_order)

    def batch(self, step: int) -> Batch:
        """(images, labels) of one step: (batch, height, width, channels) float32 and (batch,) int64.

        Where a recipe mixes images, the labels are those before; `targets` has what to learn.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        size = self.recipe.batch_size
        indices = self._order(epoch)[position * size : (position + 1) * size]
        crop = random_crop(self.recipe, step, self.size)
        crops = {} if crop is None else {"crop": crop}
        pictures = recolored(self.recipe, self.data.train.read(indices, self.preparation, **crops), step)
        if self.recipe.mean == "pixel":  # before the crop, which moves the pixels
            pictures = pictures - self._mean_picture
        images = cut_out(self.recipe, normalized(self._augmented(pictures, step), self._centered), step)
        mixed = mixing(self.recipe, step, len(images), self.size)
        return images if mixed is None else mixed.images(images), self.data.train.labels[indices]

    def targets(self, step: int, labels: np.ndarray) -> np.ndarray:
        """The target distribution (batch, classes) float64 of a step's batch with these labels."""
        targets = target_distribution(labels, len(self.data.classes), self.recipe.label_smoothing)
        mixed = mixing(self.recipe, step, len(labels), self.size)
        return targets if mixed is None else mixed.targets(targets)

    def batches(self, start: int, stop: int) -> Iterator[tuple[int, Batch]]:
        """(step, batch) for range(start, stop); the next batch is prepared while the current one is in use."""
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(self.batch, start) if start < stop else None
            for step in range(start, stop):
                assert following is not None
                batch = following.result()
                following = pool.submit(self.batch, step + 1) if step + 1 < stop else None
                yield step, batch

    def test_batches(self) -> Iterator[Batch]:
        """The test pictures in order, without augmentation, as (images, labels) like `batch`."""
        split = self.data.test
        for start in range(0, len(split), EVALUATION_BATCH):
            indices = np.arange(start, min(start + EVALUATION_BATCH, len(split)))
            yield normalized(split.read(indices, self.preparation), self.preparation), split.labels[indices]

    def batch_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the training batches that occur."""
        rest = len(self.data.train) % self.recipe.batch_size
        sizes = [min(self.recipe.batch_size, len(self.data.train))]
        if rest and not self.recipe.drop_last and len(self.data.train) > self.recipe.batch_size:
            sizes.append(rest)
        return [(size, *self.size, self.channels) for size in sizes]

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.recipe.seed, _ORDER, epoch]).permutation(len(self.data.train))

    @cached_property
    def preparation(self) -> Preparation:
        """How the test pictures become images; training pictures are augmented on the way."""
        mean, deviation = self.recipe.mean, self.recipe.deviation
        return replace(
            self._resizing,
            mean=None if mean == "pixel" else mean,
            deviation=deviation,
            mean_picture=self._mean_picture.astype("<f4").tobytes() if mean == "pixel" else None,
        )

    @cached_property
    def _centered(self) -> Preparation:
        """The preparation of pictures from which the mean picture has been subtracted."""
        return replace(self.preparation, mean_picture=None)

    @property
    def inputs(self) -> Inputs:
        """What a network trained on this says of its pictures."""
        return Inputs(self.preparation, self.data.classes)

    @cached_property
    def _mean_picture(self) -> np.ndarray:
        """(height, width, channels) float32 from 0 to 255: the mean of all training pictures."""
        split, total = self.data.train, np.zeros((*self.size, self.channels), np.int64)
        for start in range(0, len(split), EVALUATION_BATCH):
            indices = np.arange(start, min(start + EVALUATION_BATCH, len(split)))
            total += split.read(indices, self._resizing).sum(0, dtype=np.int64)
        return (total / len(split)).astype(np.float32)

    def _augmented(self, pictures: np.ndarray, step: int) -> np.ndarray:
        """A random crop of the zero-padded pictures, randomly mirrored: He et al. 2015, section 4.2."""
        rng = np.random.default_rng([self.recipe.seed, _AUGMENT, step])
        count, height, width, _ = pictures.shape
        if pad := self.recipe.pad_crop:
            padded = np.pad(pictures, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
            corners = rng.integers(0, 2 * pad + 1, size=(2, count, 1))
            rows, columns = corners[0] + np.arange(height), corners[1] + np.arange(width)
            pictures = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
        if self.recipe.flip:
            mirrored = rng.random(size=(count, 1, 1, 1)) < 0.5
            pictures = np.where(mirrored, pictures[:, :, ::-1], pictures)
        return pictures

    def _check(self, spec: ResNetSpec) -> None:
        channels, classes = self.data.train.channels, len(self.data.classes)
        if channels not in (None, spec.in_channels):
            raise DataError(
                f"{self.data.name}: its pictures have channels = {channels}, and the network takes {spec.in_channels}; "
                f"set in_channels = {channels}"
            )
        if channels is None and spec.in_channels not in (1, 3):
            raise DataError(f"{self.data.name}: the network takes {spec.in_channels} channels; pictures give 1 or 3")
        if spec.classes != classes:
            raise DataError(
                f"{self.data.name}: has {classes} classes, and the network {spec.classes}; set classes = {classes}"
            )
        jitter = [name for name in (*OPERATIONS, "lighting") if getattr(self.recipe, name)]
        if jitter and spec.in_channels not in (1, 3):
            raise DataError(
                f"{jitter[0]}: received {getattr(self.recipe, jitter[0])}; pictures with channels = {spec.in_channels} "
                "have no colors that can be changed, expected 1 or 3"
            )
        sides = self.recipe.crop_side
        if sides is not None and min(sides) < max(self.size):
            raise DataError(
                f"crop_side: received {list(sides)}; the images are {self.size[0]}x{self.size[1]}, which is cut out of "
                f"the scaled pictures: expected numbers from {max(self.size)}, or a smaller resize"
            )
        for field in ("mean", "deviation"):
            values = getattr(self.recipe, field)
            if isinstance(values, tuple) and len(values) not in (1, spec.in_channels):
                raise DataError(
                    f"{field}: received {len(values)} numbers; the pictures have {spec.in_channels} channels: "
                    f"give as many, such as {field} = {[round(sum(values) / len(values), 3)] * spec.in_channels}"
                )
