"""The named recipes, and reading and writing recipes: TOML, JSON, and overrides as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resnet_core.errors import RecipeError, likely
from resnet_core.fields import (
    dump_toml,
    parse_assignments,
    parse_json,
    plain_fields,
    read_fields,
    require_known,
    with_none,
)
from resnet_core.files import write_atomically
from resnet_core.preparation import GRAY_DEVIATION, GRAY_MEAN, IMAGENET_DEVIATION, IMAGENET_MEAN
from resnet_core.training.recipe import FIELDS, OPTIONAL, Recipe

RECIPES: dict[str, dict[str, Any]] = {
    # Zhang et al., Dive into Deep Learning, section 8.6.5: d2l.Trainer, with pictures as ToTensor returns them.
    "d2l": {"learning_rate": 0.05, "epochs": 10, "batch_size": 256, "resize": [96, 96]},
    "fashion-adam": {"optimizer": "adam", "learning_rate": 0.001, "epochs": 2, "batch_size": 256},
    # He et al. 2015, section 4.2.
    "cifar-2015": {
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": [32_000, 48_000],
        "steps": 64_000,
        "batch_size": 128,
        "pad_crop": 4,
        "flip": True,
        "mean": "pixel",
    },
    # What the shipped ResNet-20 was trained with.
    "fashion-resnet20": {
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "decay_all": False,
        "schedule": "cosine",
        "warmup": 1,
        "epochs": 18,
        "batch_size": 128,
        "drop_last": True,
        "pad_crop": 2,
        "flip": True,
        "mean": list(GRAY_MEAN),
        "deviation": list(GRAY_DEVIATION),
    },
    # He et al. 2015, section 3.4. The paper drops the rate when the error plateaus: here it is 30 and 60 epochs.
    "imagenet-2015": {
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": [150_000, 300_000],
        "steps": 600_000,
        "batch_size": 256,
        "flip": True,
        "crop_side": [256, 480],
        "lighting": 0.1,
        "mean": list(IMAGENET_MEAN),
        "deviation": list(IMAGENET_DEVIATION),
    },
    # Goyal et al. 2017, arXiv:1706.02677, sections 2.1 (linear scaling), 2.2 (gradual warm-up), 2.3 (statistics of 32)
    # and 5.1 (everything else).
    "imagenet-goyal": {
        "learning_rate": 0.1,
        "rate_batch": 256,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "decay_all": False,
        "statistics_batch": 32,
        "schedule": "step",
        "milestones": [30, 60, 80],
        "warmup": 5,
        "warmup_from": 0.1,
        "epochs": 90,
        "batch_size": 8192,
        "drop_last": True,
        "flip": True,
        "crop_area": [0.08, 1],
        "mean": list(IMAGENET_MEAN),
        "deviation": list(IMAGENET_DEVIATION),
    },
    # For some hundred or thousand pictures of one's own: small batches, a small rate, ImageNet's constants, which the
    # weights were trained with.
    "fine-tune": {
        "learning_rate": 0.01,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "decay_all": False,
        "schedule": "cosine",
        "warmup": 1,
        "epochs": 20,
        "batch_size": 16,
        "flip": True,
        "mean": list(IMAGENET_MEAN),
        "deviation": list(IMAGENET_DEVIATION),
    },
}

#: What each is for, as `resnet recipes` says it.
ABOUT = {
    "d2l": "Dive into Deep Learning, section 8.6.5; pictures at 96 x 96",
    "fashion-adam": "a first run; the default",
    "cifar-2015": "He et al. 2015, section 4.2; crops and flips",
    "fashion-resnet20": "the network that ships",
    "imagenet-2015": "He et al. 2015, section 3.4; from a random scale",
    "imagenet-goyal": "Goyal et al. 2017; large batches, many GPUs",
    "fine-tune": "your own pictures, from trained weights, for which it is the default",
}

#: Changed fields of a recipe that its title lists, in a line that has more to say.
MOST_SHOWN = 6

#: The recipe of a new run unless another is given.
DEFAULT = "fashion-adam"


def default_recipe(weights: object | None) -> str:
    """The recipe of a new run that starts from these weights, or from initial ones if there are none."""
    return DEFAULT if weights is None else "fine-tune"


def recipe(source: str | Path | Recipe, /, **overrides: Any) -> Recipe:
    """A recipe by name, from a .toml or .json file, or from another recipe, with fields replaced. Raises InputError.

    >>> recipe("fashion-adam", epochs=1).epochs
    1
    """
    where = ""
    if isinstance(source, Recipe):
        fields = recipe_fields(source)
    elif isinstance(source, Path) or Path(source).suffix in (".toml", ".json"):
        where = str(source)
        fields = with_none(read_fields(Path(source), "a recipe", RecipeError), OPTIONAL)
    elif source in RECIPES:
        fields = {"name": source, **RECIPES[source]}
    else:
        words = {word: name for name in RECIPES for word in (name, *name.split("-"))}  # "adam" is enough
        expected = f"expected a .toml or .json file, or one of {', '.join(RECIPES)}"
        raise RecipeError(f"recipe: received {source!r}; {likely(str(source), words)}{expected}")
    for one, other in (("epochs", "steps"), ("steps", "epochs")):
        if overrides.get(one) is not None and other not in overrides:
            fields.pop(other, None)  # one length replaces the other
    try:
        return _from_fields({**fields, **overrides})
    except RecipeError as error:
        if not where or str(error).partition(":")[0].partition("[")[0] in overrides:
            raise
        raise RecipeError(f"{where}: {error}") from error


def recipe_fields(recipe: Recipe) -> dict[str, Any]:
    """Every field as a plain value, as in a recipe's file."""
    return {**plain_fields(recipe), "rates": dict(recipe.rates)}


def changes(recipe: Recipe) -> dict[str, Any]:
    """The fields in which a recipe differs from the named one of its name; {} where there is none."""
    if recipe.name not in RECIPES:
        return {}
    named, own = recipe_fields(Recipe(name=recipe.name, **RECIPES[recipe.name])), recipe_fields(recipe)
    return {field: value for field, value in own.items() if value != named[field]}


def title(recipe: Recipe) -> str:
    """What a recipe is called where it is shown: its name, and what differs from the recipe of that name.

    >>> title(recipe("fashion-adam", batch_size=64))
    'fashion-adam with batch_size = 64'
    """
    found = changes(recipe)
    for one, other in (("epochs", "steps"), ("steps", "epochs")):
        if found.get(one, "") is None and other in found:
            del found[one]  # the other length says it
    texts = [f"{field} = {'none' if value is None else json.dumps(value)}" for field, value in found.items()]
    if len(texts) > MOST_SHOWN:
        texts[MOST_SHOWN - 1 :] = [f"{len(texts) - MOST_SHOWN + 1} other fields changed"]
    listed = ", ".join(texts[:-1]) + " and " * (len(texts) > 1) + "".join(texts[-1:])
    return f"{recipe.name or 'without a name'}{' with ' * bool(texts)}{listed}"


def recipe_overrides(assignments: list[str]) -> dict[str, Any]:
    """The fields in `key=value …`, where a value is a TOML value, none, or plain text. Raises InputError."""
    return parse_assignments(assignments, "epochs=1", OPTIONAL)


def recipe_to_json(recipe: Recipe) -> str:
    """The recipe as one line of JSON; `recipe_from_json` gives it back unchanged."""
    return json.dumps(recipe_fields(recipe))


def recipe_from_json(text: str, where: str = "JSON") -> Recipe:
    """A recipe from JSON text. Raises RecipeError."""
    return _from_fields(parse_json(text, where, "recipe fields", RecipeError))


def recipe_to_toml(recipe: Recipe) -> str:
    """Every field as TOML text."""
    return dump_toml(recipe_fields(recipe))


def save_recipe(path: Path, recipe: Recipe) -> None:
    """Write the recipe as TOML, atomically."""
    write_atomically(path, recipe_to_toml(recipe).encode())


def _from_fields(fields: dict[str, Any]) -> Recipe:
    require_known(fields, FIELDS, ("learning_rate", "batch_size"), RecipeError)
    return Recipe(**fields)
