"""Weights under another library's names, where its program computes the same network, and only there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace

from resnet_core.analysis import state
from resnet_core.architecture import layer_tree
from resnet_core.conversion.formats import FORMATS
from resnet_core.conversion.naming import Format, Style, write_names
from resnet_core.deployment import undeploy
from resnet_core.errors import InputError, WeightsError
from resnet_core.layouts import to_hwio
from resnet_core.specification import ResNetSpec, from_fields, to_fields
from resnet_core.tree import BatchNorm, FrozenNorm, leaves
from resnet_core.weights import Weights

#: Fields that no tensor shows, in the order in which a difference is told.
UNSEEN = (
    "deploy", "stride_on", "stride_unit", "strides", "output_stride", "shortcut_pool", "antialias", "stem_stride",
    "stem_pool", "stem_pool_kernel", "stem_pool_stride", "stem_pool_padding", "conv_padding", "activation", "norm",
    "norm_groups", "norm_group_channels", "standardize_weights", "attention_place", "global_pool", "head_pool",
    "preactivation", "shortcut", "norm_epsilon",
)  # fmt: skip
#: What can be written so that the same is computed.
_REWRITTEN = ("norm_epsilon",)


@dataclass(frozen=True)
class Exported:
    """Weights as a library has them.

    `names` is {neutral name: name there}; `spec` is what the library's program computes, `chosen` the fields that its
    configuration or the arguments of its function have to say, and `rewritten` what was changed without any change of
    the output, in sentences.
    """

    format: Format
    style: Style
    spec: ResNetSpec
    arrays: Weights = field(repr=False)
    names: Mapping[str, str]
    chosen: Mapping[str, Any]
    rewritten: tuple[str, ...] = ()


def export_weights(spec: ResNetSpec, weights: Mapping[str, np.ndarray], format: str) -> Exported:
    """The weights of a network under the names, and in the layout, of another library.

    What differs exactly is rewritten: another epsilon goes into the running variances, biases of zero are added or
    left out, folded norms are put back. Raises WeightsError, one line that names the field, where the library has no
    program that computes the same network.
    """
    if format not in FORMATS:
        raise InputError(f"format: received {format!r}; expected one of {', '.join(FORMATS)}")
    own = FORMATS[format]
    told: tuple[str, ...] = ()
    if own.styles[0].own:
        return _of_ours(own, own.styles[0], spec, weights)
    if spec.deploy and not spec.standardize_weights:  # no library's program has this form
        told = ("norms that only add the biases, which the deploy form has in the convolutions",)
        weights, spec = undeploy(weights, spec)
    reasons: list[tuple[int, int, str]] = []
    for style, chosen in _programs(own, spec):
        try:
            exported = _exported(own, style, chosen, spec, weights)
        except _DiffersError as difference:
            reasons.append((_apart(spec, {**style.fields, **chosen}), difference.count, str(difference)))
        else:
            return dataclasses.replace(exported, rewritten=(*told, *exported.rewritten))
    raise WeightsError(f"{own.title} is another network: {min(reasons)[-1]}")


def _of_ours(format: Format, style: Style, spec: ResNetSpec, weights: Mapping[str, np.ndarray]) -> Exported:
    """A model of this project is built from the spec: whatever it says is in the program, and nothing is rewritten."""
    names = write_names(format, style, state(spec))
    if names is None:
        raise WeightsError(f"{format.title} has no names for the tensors of this network")
    arrays = {names[name]: _native(style, format, name, weights[name]) for name in state(spec)}
    return Exported(format, style, spec, arrays, names, {})


def _programs(format: Format, spec: ResNetSpec) -> Iterator[tuple[Style, Mapping[str, Any]]]:
    """Every program of a library, with what its names or its configuration choose, and the arguments for this spec."""
    ours, usual = to_fields(spec), _usual(spec)
    for style in format.styles:
        given = {
            each.name: ours[each.name]
            for each in style.arguments
            if ours[each.name] != style.fields.get(each.name, usual[each.name]) and each.hinders(spec) is None
        }
        for chosen in ({}, *style.alternatives, *style.configured):
            yield style, {**chosen, **given}


def _told(spec: ResNetSpec, style: Style, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration or the call of a function says: an argument as it is called there."""
    taken = {each.name: each for each in style.arguments}
    told: dict[str, Any] = {}
    for name, value in chosen.items():
        told |= taken[name].told(spec) if name in taken else {name: value}
    return told


def _apart(spec: ResNetSpec, fields: Mapping[str, Any]) -> int:
    """In how many fields that no tensor shows a program is another network; the nearest one's reason is told."""
    ours, usual = to_fields(spec), _usual(spec)
    return sum(fields.get(name, usual[name]) != ours[name] for name in UNSEEN if name not in _REWRITTEN)


def _usual(spec: ResNetSpec) -> dict[str, Any]:
    """The fields that a program does not name."""
    return to_fields(ResNetSpec(depths=(1,), channels=(1,), block=spec.block))


class _DiffersError(Exception):
    """A program computes another network; `count` is in how many fields."""

    def __init__(self, count: int, message: str) -> None:
        super().__init__(message)
        self.count = count


def _exported(
    format: Format, style: Style, chosen: Mapping[str, Any], spec: ResNetSpec, weights: Mapping[str, np.ndarray]
) -> Exported:
    arrays, rewritten = dict(weights), []
    fields = {**style.fields, **chosen}
    adapted = replace(spec, dropout=0.0, drop_path=0.0)
    places = fields.get("conv_bias", ())
    if spec.norm != "none" and set(places) != set(spec.conv_bias):
        adapted = replace(adapted, conv_bias=tuple(places))
        arrays, told = _with_biases(arrays, adapted)
        rewritten += told
    theirs = _program(adapted, style, fields)
    names = write_names(format, style, state(adapted))
    if names is None:
        lacking = next(name for name in state(adapted) if write_names(format, style, [name]) is None)
        raise _DiffersError(100, f"its {style.name} has no {lacking.rpartition('.')[0]}")
    epsilon = theirs.norm_epsilon
    if epsilon != adapted.norm_epsilon and theirs.norm == "batch":
        adapted = replace(adapted, norm_epsilon=epsilon)
        arrays = _with_epsilon(arrays, spec, epsilon)
        rewritten.append(f"an epsilon of {epsilon:g}, not {spec.norm_epsilon:g}: the running variances have the rest")
    if layer_tree(theirs) != layer_tree(adapted):
        raise _DiffersError(*_difference(adapted, theirs, style))
    written = {names[name]: _native(style, format, name, arrays[name]) for name in _ordered(style, list(arrays))}
    return Exported(format, style, theirs, written, names, _told(theirs, style, chosen), tuple(rewritten))


def _program(spec: ResNetSpec, style: Style, fields: Mapping[str, Any]) -> ResNetSpec:
    """What a program computes with these tensors: what no tensor shows is as it has it. Raises where it has no such."""
    ours, usual = to_fields(spec), _usual(spec)
    for name, value in style.fixed.items():
        if ours[name] != value:
            raise _DiffersError(10, f"{name} is {_said(ours[name])}, and {_said(value)} in its {style.name}")
    theirs = {**ours, **{name: fields.get(name, usual[name]) for name in UNSEEN}}
    different = [name for name in UNSEEN if theirs[name] != ours[name] and name not in _REWRITTEN]
    try:
        return from_fields(theirs)
    except InputError as error:
        raise _DiffersError(len(different) + 1, _first(different or ["norm"], ours, theirs, style)) from error


def _difference(own: ResNetSpec, theirs: ResNetSpec, style: Style) -> tuple[int, str]:
    """In how many fields two networks differ, and the first of them in words."""
    ours, other = to_fields(own), to_fields(theirs)
    fields = [name for name in UNSEEN if ours[name] != other[name]]
    return len(fields), _first(fields, ours, other, style)


def _first(names: list[str], ours: Mapping[str, Any], theirs: Mapping[str, Any], style: Style) -> str:
    name = names[0]
    for argument in style.arguments:
        if argument.name == name and (why := argument.hinders(from_fields(dict(ours)))) is not None:
            return f"{name} is {_said(ours[name])}, and its {style.name} {why}"
    return f"{name} is {_said(ours[name])}, and {_said(theirs[name])} in its {style.name}"


def _said(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _with_biases(arrays: Weights, spec: ResNetSpec) -> tuple[Weights, list[str]]:
    """The weights with exactly the spec's biases: of zero where there was none. Raises where one would be lost."""
    expected = state(spec)
    dtype = next(iter(arrays.values())).dtype
    told = []
    added = [name for name in expected if name not in arrays and name.endswith(".bias")]
    dropped = [name for name in arrays if name not in expected and name.endswith(".bias")]
    if lost := [name for name in dropped if arrays[name].any()]:
        raise _DiffersError(1, f"conv_bias: {lost[0]} is not zero, and there is none there")
    if added:
        told.append(f"{len(added)} biases of zero, which it has and this network has not")
    if dropped:
        told.append(f"without {len(dropped)} biases, all of them zero")
    kept = {name: array for name, array in arrays.items() if name not in dropped}
    both = {**kept, **{name: np.zeros(expected[name], dtype) for name in added}}
    return {name: both[name] for name in expected if name in both}, told


def _with_epsilon(arrays: Weights, spec: ResNetSpec, epsilon: float) -> Weights:
    """The running variances for another epsilon: a norm divides by the root of their sum."""
    norms = [path for path, leaf in leaves(layer_tree(spec)) if isinstance(leaf, BatchNorm | FrozenNorm)]
    found = dict(arrays)
    for path in norms:
        name = f"{path}.running_var"
        variance = found[name].astype(np.float64) + (spec.norm_epsilon - epsilon)
        if variance.min() < 0:
            raise _DiffersError(
                1, f"norm_epsilon is {spec.norm_epsilon:g}, and {epsilon:g} there; {name} is too small for it"
            )
        found[name] = variance.astype(arrays[name].dtype)
    return found


def _ordered(style: Style, names: list[str]) -> list[str]:
    """The names in the order of the file: what stands before and behind the blocks stays there."""
    places = {name: style.place(name) for name in names}
    inner = sorted((name for name in names if places[name]), key=lambda name: places[name])
    if not inner:
        return names
    first = next(index for index, name in enumerate(names) if places[name])
    outer = [name for name in names if not places[name]]
    return [*outer[:first], *inner, *outer[first:]]


def _native(style: Style, format: Format, name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 2 and style.is_convolution(name.rpartition(".")[0]):
        array = array[:, :, None, None]
    return to_hwio(array) if format.layout == "hwio" else array  # a view: who writes it copies it
