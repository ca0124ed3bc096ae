"""A network as a program of its own, with or without its training."""

from __future__ import annotations

import inspect
from pathlib import Path

from resnet_core.backend import load_source
from resnet_core.errors import InputError
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.training.recipe import Recipe, check_trainable
from resnet_core.training.recipe_files import DEFAULT
from resnet_core.training.recipe_files import recipe as read_recipe


def source(spec: Source, backend: str, *, train: str | Path | Recipe | bool = False) -> str:
    """The network as a program of the named backend's framework, complete and independent of this project.

    With `train`, a recipe or True for the one that `rn.train` has by default, the program also trains: the recipe's
    optimizer, loss, weight decay and learning rates, in a loop over the reader's own batches.

    No framework is imported, so that none need be installed. Raises InputError for an unknown backend, for one whose
    package prints no programs or none that train, for a network that has none, and for a recipe that cannot be used;
    BackendError for a package that fails.
    """
    write, spec = load_source(backend), read_spec(spec)
    if train is False:
        return write(spec)
    if len(inspect.signature(write).parameters) < 2:
        raise InputError(f"backend {backend}: prints programs, but none that train; leave training out")
    recipe = read_recipe(DEFAULT if train is True else train)
    check_trainable(spec)
    for field in ("mixup", "cutmix"):
        if value := getattr(recipe, field):
            raise InputError(f"{field}: received {value:g}; programs have one class per picture, expected {field} = 0")
    return write(spec, recipe)
