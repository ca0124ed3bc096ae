"""`resnet recipes`: the named recipes, and one of them in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from resnet_core.cli.options import JsonFlag, print_json
from resnet_core.cli.output import say
from resnet_core.fields import plain_fields

if TYPE_CHECKING:
    from resnet_core.training.recipe import Recipe


def list_recipes(
    name: Annotated[str | None, typer.Argument(metavar="RECIPE", help="Print this one, or a file, as TOML.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the recipes of training, or print one with its fields."""
    from resnet_core.training.recipe_files import ABOUT, RECIPES, recipe, recipe_to_toml

    if name is not None:
        found = recipe(name)
        if as_json:
            print_json(plain_fields(found))
        else:
            say(recipe_to_toml(found), end="")
        return
    recipes = [recipe(known) for known in RECIPES]
    if as_json:
        print_json([plain_fields(found) for found in recipes])
        return
    from resnet_core.cli import tables

    table = tables.plain_table("recipe", "optimizer", rate="right", length="right", batch="right", **{"for": "left"})
    table.columns[-1].no_wrap = False
    for found in recipes:
        batch = str(found.batch_size)
        table.add_row(found.name, found.optimizer, f"{found.rate:g}", _length(found), batch, ABOUT[found.name])
    tables.show(table)


def _length(found: Recipe) -> str:
    return f"{found.epochs} epochs" if found.epochs else f"{found.steps:,} steps"
