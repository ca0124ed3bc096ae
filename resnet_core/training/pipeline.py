"""Batches as a pure function of the step: shuffled, augmented and normalized in the same way for every backend.

No state is kept between batches. The order of an epoch depends on the seed and the epoch, the augmentation of a
batch on the seed and the step. So a run can be resumed from its step alone, any batch can be inspected by itself, and
some rows of a batch can be prepared without the others: by each of several processes, and by each of several workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from math import prod
from threading import RLock
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from resnet_core.cores import cores
from resnet_core.data.dataset import Dataset, Size
from resnet_core.data.jitter import OPERATIONS
from resnet_core.data.prepare import normalized
from resnet_core.errors import DataError
from resnet_core.preparation import Inputs, Preparation
from resnet_core.specification import ResNetSpec
from resnet_core.training.ahead import AHEAD, Each, Threads, ahead
from resnet_core.training.augmentation import cut_out, random_crop, recolored
from resnet_core.training.mixing import mixing
from resnet_core.training.parallel import shards
from resnet_core.training.parallel.group import Group, total
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

#: Values of the images that a worker prepares at once: some of 224 x 224, a batch of small ones.
PIECE = 2**19

#: Values of a batch of which only one is prepared ahead, half a GiB: its pieces keep all workers busy.
LARGE = 2**27

#: Which rows of a batch of so many are prepared.
Rows = Callable[[int], np.ndarray]


class Pipeline:
    """Training and test batches for a data set, a recipe and a network. Raises InputError if they do not fit.

    `workers` threads prepare what is used next, by default one for each core; batches do not depend on them.
    """

    def __init__(self, data: Dataset, recipe: Recipe, spec: ResNetSpec, workers: int | None = None) -> None:
        self.data, self.recipe, self.workers = data, recipe, workers or cores()
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
        self._order = lru_cache(maxsize=2)(self._draw_order)  # two epochs, where one ends
        self._threads: int | Threads = self.workers
        # No cached properties, whose lock is one for all pipelines in Python 3.11: ranks that are threads would wait.
        self._once = RLock()
        self._prepared: Preparation | None = None
        self._mean: np.ndarray | None = None
        #: The processes that train together: then each reads its part of the pictures for the mean one, and all are
        #: `ready` at the same point of the run, with nothing else that they tell each other before.
        self.group: Group | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside, the workers are the same threads all the time, which are there from the start."""
        with Threads(self.workers) as self._threads:
            try:
                yield
            finally:
                self._threads = self.workers

    def batch(self, step: int, rows: Rows | None = None, each: Each = map) -> Batch:
        """(images, labels) of one step: (batch, height, width, channels) float32 and (batch,) int64.

        With `rows`, only their images of the whole batch, in this order, and all labels. Where a recipe mixes images,
        the labels are those before; `targets` has what to learn. `each` is given the work in pieces.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        size = self.recipe.batch_size
        indices = self._order(epoch)[position * size : (position + 1) * size]
        taken = _taken(len(indices), rows)
        mixed = mixing(self.recipe, step, len(indices), self.size, taken)
        if mixed is None:
            images = self._images(step, indices, taken, each)
        else:  # a row's partner may be in another process's shard
            needed = np.unique(np.concatenate([taken, mixed.partners]))
            found = self._images(step, indices, needed, each)
            own = found if rows is None else found[np.searchsorted(needed, taken)]
            images = mixed.images(own, found[np.searchsorted(needed, mixed.partners)])
        return images, self.data.train.labels[indices]

    def targets(self, step: int, labels: np.ndarray, rows: Rows | None = None) -> np.ndarray:
        """The target distribution (batch or rows, classes) float64 of a step's batch with these labels."""
        taken = _taken(len(labels), rows)
        mixed = mixing(self.recipe, step, len(labels), self.size, taken)
        classes, smoothing = len(self.data.classes), self.recipe.label_smoothing
        targets = target_distribution(labels[taken], classes, smoothing)
        if mixed is None:
            return targets
        return mixed.targets(targets, target_distribution(labels[mixed.partners], classes, smoothing))

    def batches(self, start: int, stop: int, rows: Rows | None = None) -> Iterator[tuple[int, Batch]]:
        """(step, batch) for range(start, stop); the next ones are prepared while the current one is in use."""
        large = prod(self.batch_shapes()[0]) > LARGE
        steps = range(start, stop)
        return ahead(
            lambda step, each: (step, self.batch(step, rows, each)), steps, self._threads, 1 if large else AHEAD
        )

    def test_batches(self, rows: Rows | None = None) -> Iterator[Batch]:
        """The test pictures in order, without augmentation, as (images, labels) like `batch`."""
        split = self.data.test

        def make(start: int, each: Each) -> Batch:
            indices, preparation = np.arange(start, min(start + EVALUATION_BATCH, len(split))), self.preparation
            own = indices[_taken(len(indices), rows)]
            images = self._in_pieces(lambda some: normalized(split.read(some, preparation), preparation), own, each)
            return images, split.labels[indices]

        return ahead(make, range(0, len(split), EVALUATION_BATCH), self._threads)

    def batch_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the training batches that occur."""
        rest = len(self.data.train) % self.recipe.batch_size
        sizes = [min(self.recipe.batch_size, len(self.data.train))]
        if rest and not self.recipe.drop_last and len(self.data.train) > self.recipe.batch_size:
            sizes.append(rest)
        return [(size, *self.size, self.channels) for size in sizes]

    def _draw_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.recipe.seed, _ORDER, epoch]).permutation(len(self.data.train))

    @property
    def preparation(self) -> Preparation:
        """How the test pictures become images; training pictures are augmented on the way."""
        with self._once:
            self._prepared = self._prepared or self._preparation()
        return self._prepared

    def _preparation(self) -> Preparation:
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

    def ready(self) -> None:
        """Have looked at the pictures for what all images need: the mean picture, where the recipe has one."""
        _ = self.preparation

    @property
    def inputs(self) -> Inputs:
        """What a network trained on this says of its pictures."""
        return Inputs(self.preparation, self.data.classes)

    @property
    def _mean_picture(self) -> np.ndarray:
        """(height, width, channels) float32 from 0 to 255: the mean of all training pictures."""
        with self._once:
            if self._mean is None:
                self._mean = self._computed_mean()
        return self._mean

    def _computed_mean(self) -> np.ndarray:
        split, group = self.data.train, self.group
        own = np.arange(len(split)) if group is None else shards.rows(len(split), group.rank, group.processes)
        sums = np.zeros((*self.size, self.channels), np.int64)  # of whole numbers: the same in whatever parts

        def make(start: int, each: Each) -> np.ndarray:
            indices = own[start : start + EVALUATION_BATCH]
            pieces = [indices[first : first + self._piece] for first in range(0, len(indices), self._piece)]
            found = each(lambda some: split.read(some, self._resizing).sum(0, dtype=np.int64), pieces)
            return sum(found, start=np.zeros_like(sums))

        for found in ahead(make, range(0, len(own), EVALUATION_BATCH), self._threads):
            sums += found
        return ((sums if group is None else total(group, sums)) / len(split)).astype(np.float32)

    @property
    def _piece(self) -> int:
        """Images that a worker prepares at once."""
        return max(1, PIECE // prod((*self.size, self.channels)))

    def _in_pieces(
        self,
        prepare: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray,
        each: Each,
        order: np.ndarray | None = None,
    ) -> np.ndarray:
        """Images (rows, height, width, channels) float32, of which `prepare` makes those of some rows, in any order."""
        if 0 < len(rows) <= self._piece:
            return prepare(rows)
        images = np.empty((len(rows), *self.size, self.channels), np.float32)
        places = np.arange(len(rows)) if order is None else order

        def fill(start: int) -> None:
            some = places[start : start + self._piece]
            images[some] = prepare(rows[some])

        for _ in each(fill, range(0, len(rows), self._piece)):
            pass
        return images

    def _images(self, step: int, indices: np.ndarray, rows: np.ndarray, each: Each) -> np.ndarray:
        """Of these rows of the batch of these pictures, before any are mixed."""
        draws, preparation = self._draws(step, len(indices)), self.preparation
        mean = self._mean_picture if self.recipe.mean == "pixel" else None

        def prepare(some: np.ndarray) -> np.ndarray:
            numbers = some.tolist()
            crop = random_crop(self.recipe, step, self.size, numbers)
            crops = {} if crop is None else {"crop": crop}
            pictures = self.data.train.read(indices[some], preparation, **crops)
            pictures = recolored(self.recipe, pictures, step, numbers)
            if mean is not None:  # before the crop, which moves the pixels
                pictures = pictures - mean
            images = normalized(self._augmented(pictures, draws.of(some)), self._centered)
            return cut_out(self.recipe, images, step, numbers)

        # As they are stored, where they are files: some are read a stretch at a time.
        order = None if self.data.train.files is None else np.argsort(indices[rows], kind="stable")
        return self._in_pieces(prepare, rows, each, order)

    def _draws(self, step: int, count: int) -> _Draws:
        """For a whole batch, since its rows have one generator."""
        rng, pad = np.random.default_rng([self.recipe.seed, _AUGMENT, step]), self.recipe.pad_crop
        corners = rng.integers(0, 2 * pad + 1, size=(2, count, 1)) if pad else None
        return _Draws(corners, rng.random(size=(count, 1, 1, 1)) < 0.5 if self.recipe.flip else None)

    def _augmented(self, pictures: np.ndarray, draws: _Draws) -> np.ndarray:
        """A random crop of the zero-padded pictures, randomly mirrored: He et al. 2015, section 4.2."""
        count, height, width, _ = pictures.shape
        if draws.corners is not None:
            pad = self.recipe.pad_crop
            padded = np.pad(pictures, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
            rows, columns = draws.corners[0] + np.arange(height), draws.corners[1] + np.arange(width)
            pictures = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
        if draws.mirrored is not None:
            pictures = np.where(draws.mirrored, pictures[:, :, ::-1], pictures)
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


class _Draws(NamedTuple):
    """Where a batch's padded pictures are cropped, (2, batch, 1), and which are mirrored, (batch, 1, 1, 1) bool."""

    corners: np.ndarray | None
    mirrored: np.ndarray | None

    def of(self, rows: np.ndarray) -> _Draws:
        """Those of some rows."""
        corners = None if self.corners is None else self.corners[:, rows]
        return _Draws(corners, None if self.mirrored is None else self.mirrored[rows])


def _taken(count: int, rows: Rows | None) -> np.ndarray:
    return np.arange(count) if rows is None else rows(count)
