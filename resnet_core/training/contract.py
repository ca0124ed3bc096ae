"""The training contract: a backend's trainer, the inputs and result of a step, and the state between steps.

A backend's `trainer.py` imports its types from here. The docstrings of `Trainer` are the contract; those of a
backend's own class mention only what is particular to its framework.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import numpy as np

from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights, cast


@dataclass
class TrainingState:
    """Neutral weights, the optimizer's slots and the number of steps taken.

    `slots` is {slot: {parameter: array of its shape}}, with the names in `recipe.slots`, of the parameters that are
    trained. It may be empty before the first step, which means zeros. `average` is the core's
    (`resnet_core.training.averaging`), and empty unless the recipe averages: a trainer ignores it and returns none.
    """

    weights: Weights
    slots: dict[str, Weights] = field(default_factory=dict)
    step: int = 0
    average: Weights = field(default_factory=dict)

    @property
    def evaluated(self) -> Weights:
        """The weights that are evaluated and kept: their average in a run that has one."""
        return cast(self.average, next(iter(self.weights.values())).dtype.name) if self.average else self.weights

    def slot(self, slot: str, name: str) -> np.ndarray:
        """The optimizer's array for one parameter, zeros before the first step."""
        return self.slots[slot][name] if slot in self.slots else np.zeros_like(self.weights[name])

    def to_arrays(self) -> Weights:
        """The state as a flat {`weight.NAME` or `slot.SLOT.NAME`: array} of views, without the step."""
        arrays = {f"weight.{name}": array for name, array in self.weights.items()}
        for slot, values in self.slots.items():
            arrays |= {f"slot.{slot}.{name}": array for name, array in values.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], step: int = 0) -> TrainingState:
        """The inverse of `to_arrays`, after `step` steps. Other names, such as those of a batch, are ignored."""
        state = cls({}, {}, step)
        for name, array in arrays.items():
            kind, _, rest = name.partition(".")
            if kind == "weight":
                state.weights[rest] = array
            elif kind == "slot":
                slot, _, parameter = rest.partition(".")
                state.slots.setdefault(slot, {})[parameter] = array
        return state


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """What an optimizer needs to know about a step, computed in float64.

    `correction1` is 1 - beta1 ** t and `correction2` is sqrt(1 - beta2 ** t) with t = step + 1: in float32
    the subtraction would suffer from cancellation.
    """

    learning_rate: float
    correction1: float
    correction2: float


@dataclass(frozen=True, slots=True)
class StepInputs:
    """Everything that goes into one step, decided by the core.

    Fields added later have a default, and are set only for trainers whose `inputs` name them.

    - `images`: (batch, height, width, channels), float32 or float64; the trainer casts them to its dtype.
    - `targets`: (batch, classes) float64, the target distribution of each image, including label smoothing.
    - `numbers`: the learning rate and the optimizer's bias corrections for this step.
    - `factors`: {path of a Dropout or a DropPath: float64 factors}, drawn by the core: what the layer multiplies its
      input by, 0 or 1 / (1 - rate). A dropout has a factor for each value, a drop path one for each image: (batch,).
    - `whole`: images of the whole batch, of which these are one process's (`training.parallel`); None: these are all.
    - `mask`: (batch,) float64, 0 for a row that only fills a process's shard up, and otherwise 1; None: all are 1.
    """

    images: np.ndarray
    targets: np.ndarray
    numbers: StepNumbers
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)
    whole: int | None = None
    mask: np.ndarray | None = None

    def parts(self, count: int, shards: int = 1) -> Iterator[StepInputs]:
        """`count` equal parts of the batch, in order; where it is several `shards`, each has its rows of every part."""

        def cut(rows: np.ndarray) -> np.ndarray:
            pieces = rows.reshape(shards, count, len(rows) // (shards * count), *rows.shape[1:])
            return pieces.swapaxes(0, 1).reshape(count, len(rows) // count, *rows.shape[1:])

        images, targets = cut(self.images), cut(self.targets)
        factors = {path: cut(given) for path, given in self.factors.items()}
        masks = [None] * count if self.mask is None else cut(self.mask)
        for number in range(count):
            yield replace(
                self,
                images=images[number],
                targets=targets[number],
                factors={path: pieces[number] for path, pieces in factors.items()},
                whole=None if self.whole is None else self.whole // count,
                mask=masks[number],
            )


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one step.

    - `loss`: cross-entropy with the targets, averaged over the batch, before the update.
    - `correct`: the number of images whose largest logit is at the class of their largest target.
    """

    loss: float
    correct: int


class Trainer(Protocol):
    """A network and its optimizer, ready for the step after `state.step`. It owns its model.

    `Trainer(spec, recipe, state, *, dtype=None)` builds the model from `state.weights` and restores the optimizer
    from `state.slots`, which may be empty before the first step; it neither changes `state` nor keeps references to
    it. `dtype` is "float32" (also None) or "float64", and the weights must have it.

    Raises InputError for an unknown dtype, WeightsError for weights that do not fit the spec or have another dtype.
    """

    #: The fields of StepInputs that `step` uses.
    inputs: ClassVar[frozenset[str]]

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None: ...

    def step(self, inputs: StepInputs) -> StepResult:
        """Update the parameters, the running statistics and the optimizer's slots once, in training mode.

        With `recipe.accumulate` above 1, the batch goes through the network in so many equal parts, one after another:
        a norm sees, and learns from, a part at a time, and the gradients and the loss are the means over the parts.
        With `recipe.statistics_batch`, a batch norm takes so many images of a part by themselves, and learns from one
        such group after another (`resnet_core.training.running_variance`): a step leaves what it would leave if each
        group were a part.

        What the recipe freezes (`resnet_core.training.parameters`) stays as it is: parameters, and norms, which
        normalize by their running statistics.
        The formulas are the recipe's (`docs/training.md`), the numbers those of `inputs`; the running variance is
        updated with the unbiased variance of the batch. Nothing is rolled back, even if the loss is NaN or infinite:
        that is up to the caller, who has the earlier state. The arrays in `inputs` are not modified.

        Raises InputError for images that no step can learn from, as `TrainableBackend.train_forward` does.
        """
        ...

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits (batch, classes) of images (batch, height, width, channels), in evaluation mode.

        A copy in the trainer's dtype (in NumPy always float64). Changes nothing: the next step is the same with or
        without it. Raises InputError as the backend's verb `predict` does.
        """
        ...

    def state(self) -> TrainingState:
        """Current weights, slots and step count, with neutral names and layout, in the trainer's dtype.

        All arrays are copies: later steps do not change them. A trainer made from this state, in this backend or
        another, resumes the same run.
        """
        ...
