"""Another length for a recipe or a run: what it means for the learning rates, and what is refused."""

from __future__ import annotations

from msgspec.structs import replace

from resnet_core.errors import InputError
from resnet_core.training.recipe import Recipe
from resnet_core.training.schedule import learning_rate, total_steps


def length(recipe: Recipe) -> tuple[int, str]:
    """(the recipe's length, its unit)."""
    return (recipe.epochs or 0, "epochs") if recipe.steps is None else (recipe.steps, "steps")


def require_length(epochs: int | None, steps: int | None) -> None:
    """Raise InputError for both, or for a length below 1."""
    if epochs is not None and steps is not None:
        raise InputError(f"epochs: received {epochs}, and steps = {steps}; expected one of them")
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and value < 1:
            raise InputError(f"{name}: received {value}; expected an integer from 1")


def extended(recipe: Recipe, epochs: int | None, steps: int | None) -> Recipe:
    """The recipe of a run, with another length in the same unit; unchanged where neither is given.

    Raises InputError for the other unit: milestones and warm-up are in the run's own.
    """
    asked = "epochs" if steps is None else "steps"
    own, unit = length(recipe)
    if epochs is None and steps is None:
        return recipe
    if asked != unit:
        raise InputError(f"{asked}: received {epochs or steps}; the run's length is {own:,} {unit}, so give {unit}")
    return replace(recipe, epochs=epochs, steps=steps)


def same_but_length(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes differ at most in their length."""
    return replace(one, epochs=other.epochs, steps=other.steps) == other


def require_reached(recipe: Recipe, per_epoch: int, done: int) -> None:
    """Raise InputError for a length that is shorter than the `done` steps that the run has taken."""
    if total_steps(recipe, per_epoch) < done:
        asked, unit = length(recipe)
        least = done if unit == "steps" else -(-done // per_epoch)
        raise InputError(f"{unit}: received {asked:,}; the run has taken {done:,} steps; expected at least {least:,}")


def extension_note(old: Recipe, new: Recipe, per_epoch: int, done: int) -> str:
    """What another length means for the learning rate after `done` steps, in a line."""
    (before, unit), (after, _), total = length(old), length(new), total_steps(new, per_epoch)
    said = f"the run is now {after:,} {unit} long instead of {before:,}"
    if done >= total:
        return f"{said}: no step is left"
    kept = all(learning_rate(old, per_epoch, step) == learning_rate(new, per_epoch, step) for step in range(done))
    if kept:
        return f"{said}: the learning rates of the {done:,} steps already taken stay right, and nothing else changes"
    last, following = learning_rate(old, per_epoch, done - 1), learning_rate(new, per_epoch, done)
    return (
        f"{said}: the learning rates of the {done:,} steps already taken were those of {before:,} {unit} "
        f"({old.schedule}); it goes from {last:.2g} to {following:.2g} at step {done + 1:,}, and to 0 by step {total:,}"
    )
