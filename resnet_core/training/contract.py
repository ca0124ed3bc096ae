"""What a backend trains with: the trainer, what goes into a step, what comes out, and the state between two steps.

A backend's `trainer.py` imports its types from here. The docstrings of `Trainer` are THE contract; those of a
backend's own class say only what is particular to its framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights


@dataclass
class TrainingState:
    """Neutral weights, the optimizer's slots and how many steps have been taken.

    `slots` is {slot: {parameter: array of its shape}}; the slots are named by `recipe.slots`. It may be empty
    before the first step, which is the same as zeros.
    """

    weights: Weights
    slots: dict[str, Weights] = field(default_factory=dict)
    step: int = 0

    def slot(self, slot: str, name: str) -> np.ndarray:
        """One array of the optimizer, zeros before the first step."""
        return self.slots[slot][name] if slot in self.slots else np.zeros_like(self.weights[name])

    def to_arrays(self) -> Weights:
        """The state as one flat {`weight.NAME` or `slot.SLOT.NAME`: array}, views; the step is not in it."""
        arrays = {f"weight.{name}": array for name, array in self.weights.items()}
        for slot, values in self.slots.items():
            arrays |= {f"slot.{slot}.{name}": array for name, array in values.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], step: int = 0) -> TrainingState:
        """What `to_arrays` flattened, after `step` steps. Other names, such as a batch's, are left out."""
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
    """What an optimizer needs to know about one step, computed in double precision.

    `correction1` is 1 - beta1 ** t and `correction2` is sqrt(1 - beta2 ** t) with t = step + 1: in float32
    the subtraction would cancel.
    """

    learning_rate: float
    correction1: float
    correction2: float


@dataclass(frozen=True, slots=True)
class StepInputs:
    """Everything that goes into one step, decided by the core.

    A later field has a default, and is set only for trainers whose `inputs` name it.

    - `images`: (batch, height, width, channels), float32 or float64; the trainer casts them to its dtype.
    - `targets`: (batch, classes) float64, the target distribution of each image; label smoothing is already in it.
    - `numbers`: the learning rate and the optimizer's corrections of this step.
    """

    images: np.ndarray
    targets: np.ndarray
    numbers: StepNumbers


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step reports.

    - `loss`: cross-entropy against the targets, averaged over the batch, before the update.
    - `correct`: how many rows have their largest logit at their largest target.
    """

    loss: float
    correct: int


class Trainer(Protocol):
    """A network and its optimizer, ready for the step after `state.step`. It owns its model.

    `Trainer(spec, recipe, state, *, dtype=None)` builds the model from `state.weights` and restores the optimizer
    from `state.slots`, which may be empty before the first step; nothing of `state` is changed or kept. `dtype` is
    "float32" (also None) or "float64", and the weights must have it.

    Raises InputError for an unknown dtype, WeightsError for weights that do not belong to the spec or have another
    dtype.
    """

    #: The fields of StepInputs that `step` uses.
    inputs: ClassVar[frozenset[str]]

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None: ...

    def step(self, inputs: StepInputs) -> StepResult:
        """One update in training mode: of the parameters, the running statistics and the optimizer's slots.

        The formulas are the recipe's (`docs/training.md`), the numbers those of `inputs`; the running variance
        learns the unbiased variance of the batch. Nothing is restored, also where the loss is NaN or infinite: the
        caller decides, and has the state from before. The arrays of `inputs` are left as they are.

        The core makes the inputs, and has refused batches that no norm can learn from: they are not checked again.
        """
        ...

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits (batch, classes) of images (batch, height, width, channels), in evaluation mode.

        In the trainer's dtype (NumPy's always in float64), a copy. Changes nothing: the next step is the same with
        and without it. Raises InputError as the backend's verb `predict` does.
        """
        ...

    def state(self) -> TrainingState:
        """Weights, slots and step count as they are now, in neutral names and layout, in the trainer's dtype.

        All arrays are copies: later steps do not change them. A trainer made from this state, in this backend or
        another, continues the same run.
        """
        ...
