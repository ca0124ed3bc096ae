"""What is said of an option that a command does not have: often it is a field of the recipe or of the spec."""

from __future__ import annotations

import difflib
from typing import Any

#: What others call a field.
OTHER_NAMES = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "batch": "batch_size",
    "optim": "optimizer",
    "num_classes": "classes",
    "in_chans": "in_channels",
}


def option_hint(error: Any) -> str:
    """The option that sets a field of that name, to follow the message; "" where no field is near."""
    option, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if option is None or context is None:
        return ""
    from resnet_core.specification import FIELDS as SPEC
    from resnet_core.training.recipe import FIELDS as RECIPE

    own = {name for parameter in context.command.params for name in parameter.opts}
    name = option.lstrip("-").replace("-", "_")
    for sets, fields, what in (("--with", RECIPE, "recipe"), ("--set", SPEC, "spec")):
        if sets in own:
            found = difflib.get_close_matches(OTHER_NAMES.get(name, name), fields, n=1, cutoff=0.8)
            if found:
                return f"; {found[0]} is a field of the {what}, {sets} {found[0]}=VALUE."
    return ""
