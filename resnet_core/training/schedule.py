"""The length of a run and the numbers of each step, in float64 and the same for every framework.

Steps count from 0. A milestone at step 3 takes effect in step 3, as in PyTorch's MultiStepLR and in optax (in Keras'
PiecewiseConstantDecay one step later).
"""

from __future__ import annotations

import math

from resnet_core.training.contract import StepNumbers
from resnet_core.training.recipe import Recipe


def steps_per_epoch(recipe: Recipe, pictures: int) -> int:
    """Batches in one pass over the data."""
    full, rest = divmod(pictures, recipe.batch_size)
    return full if recipe.drop_last or not rest else full + 1


def total_steps(recipe: Recipe, per_epoch: int) -> int:
    """Length of the run in steps."""
    return recipe.steps if recipe.steps is not None else (recipe.epochs or 0) * per_epoch


def learning_rate(recipe: Recipe, per_epoch: int, step: int) -> float:
    """The learning rate of a step.

    The recipe's full rate times 1 ("constant"), `factor` for every milestone passed ("step"), or a half cosine from 1
    at the end of the warm-up to 0 at the end of the run ("cosine"). In a warm-up it rises to that, from `warmup_from`
    if that is less, by equal amounts: the first in the first step, the last in the last.
    """
    unit = 1 if recipe.steps is not None else per_epoch
    warmup, total = round(recipe.warmup * unit), total_steps(recipe, per_epoch)
    rate = recipe.rate
    if recipe.schedule == "step":
        rate *= recipe.factor ** sum(step >= round(milestone * unit) for milestone in recipe.milestones)
    elif recipe.schedule == "cosine" and step >= warmup:
        rate *= (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) / 2
    start = min(recipe.warmup_from, recipe.rate)
    return start + (rate - start) * (step + 1) / warmup if step < warmup else rate


def step_numbers(recipe: Recipe, per_epoch: int, step: int) -> StepNumbers:
    """The numbers of a step: the learning rate and the bias corrections."""
    beta1, beta2 = recipe.betas
    return StepNumbers(
        learning_rate(recipe, per_epoch, step), 1 - beta1 ** (step + 1), math.sqrt(1 - beta2 ** (step + 1))
    )
