"""`print(model)` in a line for each layer, like blocks once: NNX prints every attribute of every layer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import jax
from flax import nnx

from resnet_flax.layers import ChannelConv


class Printed(nnx.Module):
    """A module whose text is an outline of what it holds now, whoever put it there."""

    def __repr__(self) -> str:
        count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self, nnx.Param)))
        return "\n".join([f"{type(self).__name__}(  # {count:,} parameters", *_lines(self), ")"])

    __str__ = __repr__  # NNX has both


def _lines(module: nnx.Module, indent: str = "  ") -> Iterator[str]:
    """The children of a module, like ones that follow each other once."""
    children = [(name, child) for name, child in vars(module).items() if isinstance(child, nnx.Module)]
    for _, alike in groupby(((name, child, _text(child)) for name, child in children), key=lambda entry: entry[2]):
        names, (child, *_), _ = zip(*alike, strict=True)
        times = f"{len(names)} x " if len(names) > 1 else ""
        shown = names[0] if len(names) == 1 else f"{names[0]}…{names[-1]}"
        line = f"{indent}{shown}: {times}{_settings(child)}"
        if inner := list(_lines(child, f"{indent}  ")):
            yield from (f"{line}(", *inner, f"{indent})")
        else:
            yield line


def _text(module: nnx.Module) -> str:
    return "\n".join([_settings(module), *_lines(module)])


def _settings(module: nnx.Module) -> str:
    """A layer's type and numbers; only the type of a module that holds others."""
    kind = type(module).__name__
    match module:
        case ChannelConv():
            return f"{kind}(kernel={module.kernel_size})"
        case nnx.Conv():
            settings: dict[str, tuple[Any, Any]] = {
                "strides": (module.strides, (1, 1)),
                "padding": (module.padding, ((0, 0), (0, 0))),
                "dilation": (module.kernel_dilation, (1, 1)),
                "groups": (module.feature_group_count, 1),
                "bias": (module.use_bias, False),
            }
            more = "".join(f", {name}={value}" for name, (value, usual) in settings.items() if value != usual)
            return f"{kind}({module.in_features}, {module.out_features}, kernel={module.kernel_size}{more})"
        case nnx.BatchNorm():
            return f"{kind}({module.num_features}, epsilon={module.epsilon}, momentum={module.momentum})"
        case nnx.GroupNorm():
            channels = module.num_groups * module.group_size
            return f"{kind}({channels}, groups={module.num_groups}, epsilon={module.epsilon})"
        case nnx.LayerNorm():
            return f"{kind}({module.num_features}, epsilon={module.epsilon})"
        case nnx.Dropout():
            return f"{kind}(rate={module.rate})"
        case nnx.Linear():
            return f"{kind}({module.in_features}, {module.out_features}, bias={module.use_bias})"
    own = {name: value for name, value in vars(module).items() if isinstance(value, int | float | str | tuple)}
    if isinstance(module, Printed):
        return kind if own.get("names", True) else "identity"
    return f"{kind}({', '.join(f'{name}={value}' for name, value in own.items())})"
