"""Which library's program named tensors are of, and which network: by names and shapes, never by guess."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from resnet_core.analysis import first_convolution, state
from resnet_core.architecture import layer_tree
from resnet_core.conversion.formats import FORMATS
from resnet_core.conversion.inference import fitting, infer_spec
from resnet_core.conversion.naming import Format, Style, read_names
from resnet_core.conversion.numbered import is_numbered, read_numbered
from resnet_core.errors import InputError, WeightsError
from resnet_core.layouts import oihw_shape
from resnet_core.specification import ResNetSpec, from_fields, to_fields
from resnet_core.tree import Shape
from resnet_core.weights import some, tensors_differ

#: Fields of a program that the tensors show as well, by their names.
SHOWN = ("block", "stem_type", "attention", "conv_bias", "preactivation")


@dataclass(frozen=True)
class Recognized:
    """A file that is understood: whose it is, which network, and what each of its tensors is.

    `names` is {name there: neutral name}, `left_out` what is there, or beside the tensors, and no part of the network,
    `stated` the fields of the spec that no tensor shows, as the program has them, `chosen` those of them that tell it
    from others, and `namesakes` published networks of other libraries that have the same names and shapes.
    """

    format: Format
    style: Style
    spec: ResNetSpec
    names: Mapping[str, str]
    left_out: tuple[str, ...]
    stated: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    namesakes: tuple[str, ...] = ()

    @property
    def ordered_as(self) -> str | None:
        """The program by the order of whose layers the tensors are known, where the file has no names for them."""
        numbered = self.format.numbered
        return numbered.program if numbered is not None and is_numbered(self.format, self.names) else None


def recognize(
    shapes: Mapping[str, Shape],
    *,
    spec: ResNetSpec | None = None,
    likely: ResNetSpec | None = None,
    format: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Recognized:
    """What the tensors with these names and shapes are.

    With a `spec`, they must be that network's; where they are those of the `likely` one, but for the number of classes
    or the head, or the channels of its images, they are taken for it. With a `format`, they must be of that library;
    `fields` are what a configuration beside them says. Raises WeightsError, one line: what is no program's, what
    contradicts the spec or the configuration, and what may be more than one network.
    """
    known = _formats(format)
    read, nearest = [], (len(shapes) + 1, "", [""])
    for own, style in known:
        found, unknown = read_names(own, style, shapes)
        if (by_order := read_numbered(own, style, shapes)) is not None:
            if spec is None and format is None:
                raise WeightsError(_of_anyone(own, shapes))
            found, unknown = by_order, []
        if not unknown and found:
            read.append((own, style, found))
        elif len(unknown) < nearest[0]:
            nearest = (len(unknown), own.title, unknown)
    if not read:
        for own in FORMATS.values():
            for pattern, why in own.refused.items():
                if any(re.search(pattern, name) for name in shapes):
                    raise WeightsError(f"its names ({some(list(shapes))}) are those of {own.name}'s {why}")
            if own.numbered is not None and own.numbered.is_automatic(shapes):
                raise WeightsError(
                    f"its layers have the names that the library numbers ({some(list(shapes))}), as a program of one's "
                    f"own leaves them; give them those of {own.numbered.program} (conv2_block1_1_conv), and save again"
                )
            if own.numbered is not None and is_numbered(own, shapes):
                raise WeightsError(
                    f"its layers have numbers for names ({some(list(shapes))}), and are not those of a ResNet of "
                    f"{own.numbered.program} in their order; write it with names, as Keras does from 3.6 on"
                )
        count, title, unknown = nearest
        what = format or f"any of {', '.join(FORMATS)}"
        near = f"; of {title} it has all names but {count} ({some(unknown)})" if count < len(shapes) else ""
        raise WeightsError(f"its names ({some(list(shapes))}) are not those of {what}{near}")
    matches, reasons = [], []
    for own, style, found in read:
        try:
            matches += _matches(own, style, found, shapes, spec, likely, fields or {})
        except InputError as error:
            reasons.append(f"{own.title}: {error}")
    if not matches:
        raise WeightsError(reasons[0])
    different = {other.spec: other for other in matches if other.format is matches[0].format}
    if len(different) > 1:
        candidates = ", ".join(other.spec.name or _said(other.chosen) for other in different.values())
        raise WeightsError(f"these names and shapes are those of several networks: {candidates}; say which by --spec")
    others = dict.fromkeys(other.spec.name for other in matches if other.spec.name)
    return replace(matches[0], namesakes=tuple(name for name in others if name != matches[0].spec.name))


def _of_anyone(format: Format, shapes: Mapping[str, Shape]) -> str:
    """Why layers with numbers are not taken for a library's: programs of one's own have the same order and shapes."""
    assert format.numbered is not None
    return (
        f"its layers have numbers for names ({some(list(shapes))}), in the order of {format.numbered.program}, which "
        f"programs with other strides and paddings have as well; say --from {format.name} if it is of "
        f"{format.numbered.program}, or else the network by --spec"
    )


def _formats(name: str | None) -> list[tuple[Format, Style]]:
    if name is not None and name not in FORMATS:
        raise InputError(f"format: received {name!r}; expected one of {', '.join(FORMATS)}")
    return [(own, style) for own in FORMATS.values() if name in (None, own.name) for style in own.styles]


def _matches(
    format: Format,
    style: Style,
    names: Mapping[str, str],
    shapes: Mapping[str, Shape],
    spec: ResNetSpec | None,
    likely: ResNetSpec | None,
    fields: Mapping[str, Any],
) -> list[Recognized]:
    """Every network that these tensors may be: those that are published, or if none is, all that have such tensors."""
    left_out = tuple(name for name in shapes if name not in names)
    own = {here: neutral_shape(format, style, here, shapes[there]) for there, here in names.items()}
    if spec is not None:
        _require(own, spec, fields)
        return [Recognized(format, style, spec, names, left_out)]
    if likely is not None:
        _, channels, *_ = own.get(f"{first_convolution(likely)}.weight", (None, likely.in_channels))
        classes = own.get("head.linear.weight", (None,))[0]
        body = structs.replace(likely, classes=classes, in_channels=channels)
        if tensors_differ(own, state(body)) is None:
            _require(own, body, fields)
            return [Recognized(format, style, body, names, left_out)]
    if style.own:
        return [
            Recognized(
                format, style, one, names, left_out, _unshown(one, {name: to_fields(one)[name] for name in _OWN})
            )
            for one in _own_networks(style, own)
        ]
    found: list[Recognized] = []
    failed: WeightsError | None = None
    for more in ({}, *(more for more in style.alternatives if not fields.keys() & more.keys())):
        stated = {**style.fields, **more, **fields}
        try:
            inferred = infer_spec(own, stated)
            found.append(Recognized(format, style, inferred, names, left_out, _unshown(inferred, stated), more))
        except WeightsError as error:
            failed = failed or error
    if not found:
        raise _with_candidates(failed, own)
    return [one for one in found if one.spec.name] or found


#: What a state of this project's own models shows no more than another library's.
_OWN = ("stem_stride", "stem_pool", "shortcut_pool", "antialias")


def _own_networks(style: Style, own: Mapping[str, Shape]) -> list[ResNetSpec]:
    """The networks with a name that have these tensors, of which nothing else in the file says anything."""
    if not (found := fitting(own)):
        raise WeightsError(
            f"{style.name} is known by its spec alone, which is not in the file, and no network with a name has these "
            "tensors; give it by --spec"
        )
    if not _counted(own):
        raise _with_candidates(None, own)
    return found


def _unshown(spec: ResNetSpec, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What no tensor shows, as the program has it: where the stride is, paddings and epsilon, and what it says else."""
    always = {
        "stride_on": spec.block == "bottleneck",
        "conv_padding": True,
        "stem_pool_padding": spec.stem and spec.stem_pool == "max",
        "norm_epsilon": spec.norm != "none",
    }
    ours = to_fields(spec)
    own = {name: ours[name] for name, has in always.items() if has}
    return own | {name: value for name, value in fields.items() if name not in always and name not in SHOWN}


def _with_candidates(error: WeightsError | None, own: Mapping[str, Shape]) -> WeightsError:
    """The error; where no norm has statistics, with the networks that have none, for which --spec can ask."""
    if not _counted(own) and (names := [known.name for known in fitting(own)]):
        return WeightsError(
            f"no norm has statistics: they were dropped, or these are norms without any ({', '.join(names)}); "
            "if they are, say which by --spec"
        )
    return error or WeightsError("these are the tensors of no ResNet that this project has")


def _counted(own: Mapping[str, Shape]) -> bool:
    """Whether a norm has statistics."""
    return any(name.endswith((".running_mean", ".running_var")) for name in own)


def neutral_shape(format: Format, style: Style, name: str, shape: Shape) -> Shape:
    """The shape of a tensor in the neutral layout."""
    own = oihw_shape(tuple(shape)) if format.layout == "hwio" else tuple(shape)
    return own[:2] if style.is_convolution(name.rpartition(".")[0]) and own[2:] == (1, 1) else own


def _require(own: Mapping[str, Shape], spec: ResNetSpec, fields: Mapping[str, Any]) -> None:
    """Raise unless these are the tensors of the spec, and what a configuration says changes nothing of it."""
    name = spec.name or "this spec"
    if (difference := tensors_differ(own, state(spec))) is not None:
        raise WeightsError(f"not of {name}: {difference}")
    for field_name, value in fields.items():
        told = from_fields({**to_fields(spec), field_name: value})
        if layer_tree(told) != layer_tree(spec):
            ours = getattr(spec, field_name)
            raise WeightsError(f"not of {name}: {field_name} is {ours!r}, and its configuration says {value!r}")


def _said(fields: Mapping[str, Any]) -> str:
    return "one with " + ", ".join(f"{field} = {value}" for field, value in fields.items()) if fields else "a plain one"
