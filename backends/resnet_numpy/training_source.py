"""NumPy programs have no training: there is no gradient in NumPy."""

from __future__ import annotations

from resnet_core.errors import InputError
from resnet_core.source_text import Program
from resnet_core.training.recipe import Recipe


def training(program: Program, recipe: Recipe | None) -> list[list[str]]:
    """[]; raises InputError for a recipe."""
    if recipe is not None:
        raise InputError(
            f"source: received a recipe for {program.framework}, whose programs do not train; expected none"
        )
    return []
