"""Preparation: how a picture becomes an image, in numbers that travel with the weights.

It is a description only; `resnet_core.data.prepare` follows it, in front of every backend alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import floor, prod
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from resnet_core.errors import InputError
from resnet_core.fields import convert_fields, parse_json, refuse

Pixels = Annotated[int, Meta(ge=1, le=100_000)]

#: Pixels of an image.
MOST_PIXELS = 2**26

#: Characters of one in JSON: a mean picture is in it as text.
MOST_JSON = 16 * 2**20

#: What each field means and allows; every error message about a field quotes it.
FIELDS: dict[str, str] = {
    "size": "one integer from 1 or [height, width] of the image",
    "channels": "an integer from 1; one is luminance, more are red, green, blue, red, …",
    "resize": '"cover" (the smallest picture of its own aspect ratio that covers size / crop, of which the center is '
    'taken; for a square the shorter side) or "stretch" (to size)',
    "crop": "a number above 0 and at most 1, the share of the resized picture's side that is kept (cover)",
    "interpolation": '"nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos", as in Pillow',
    "antialias": "true, or false to look at the neighboring pixels only where a picture shrinks",
    "channel_order": '"rgb" or "bgr", which is how Caffe and its weights count',
    "white": "a number above 0, what a white pixel becomes before the mean is subtracted: 1, or 255",
    "mean": "a list of numbers, one per channel in channel_order, or none for 0",
    "deviation": "a list of numbers above 0, one per channel in channel_order, or none for 1",
    "mean_picture": "the bytes of (height, width, channels) float32 from 0 to 255, subtracted first, or none",
}


class Preparation(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """An immutable, validated description of how pictures become images. `FIELDS` says what each field allows.

    An image is (pixel / 255 * white - mean) / deviation, float32. `others` are fields of a later version, which are
    kept and written again. Raises InputError, one line with the field, what was received and what is allowed.
    """

    size: tuple[Pixels, Pixels]
    channels: Annotated[int, Meta(ge=1, le=100_000)] = 3
    resize: Literal["cover", "stretch"] = "cover"
    crop: Annotated[float, Meta(gt=0, le=1)] = 0.875
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    antialias: bool = True
    channel_order: Literal["rgb", "bgr"] = "rgb"
    white: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    mean: tuple[Annotated[float, Meta(ge=-1e9, le=1e9)], ...] | None = None
    deviation: tuple[Annotated[float, Meta(gt=0, le=1e9)], ...] | None = None
    mean_picture: bytes | None = None
    others: dict[str, Any] = {}

    def __post_init__(self) -> None:
        convert_fields(self, {**FIELDS, "others": "an object"}, InputError, sizes=("size",))
        if prod(self.size) > MOST_PIXELS:
            refuse("size", self.size, f"at most {MOST_PIXELS:,} pixels", InputError)
        for field in ("mean", "deviation"):
            values = getattr(self, field)
            if values is not None and len(values) != self.channels:
                refuse(field, values, f"{self.channels} numbers, one per channel", InputError)
        if self.mean_picture is not None:
            expected = 4 * self.size[0] * self.size[1] * self.channels
            if len(self.mean_picture) != expected:
                refuse("mean_picture", f"{len(self.mean_picture)} bytes", f"{expected} bytes", InputError)
            if self.mean is not None:
                refuse("mean", self.mean, "none beside a mean_picture", InputError)

    def __str__(self) -> str:
        """What is done, in words, in its order."""
        height, width = self.size
        filter_name = self.interpolation + ("" if self.antialias else ", not antialiased")
        if self.resize == "stretch":
            words = [f"stretched to {height} x {width} ({filter_name})"]
        else:
            sides = [floor(length / self.crop) for length in self.size]
            covered = f"shorter side to {sides[0]}" if height == width else f"to cover {sides[0]} x {sides[1]}"
            words = [f"{covered} ({filter_name})", f"center {height} x {width}"]
        words += [{1: "gray", 3: self.channel_order.upper()}.get(self.channels, f"{self.channels} channels")]
        words += [f"white is {self.white:g}"] if self.white != 1 else []
        words += ["minus the mean picture"] if self.mean_picture is not None else []
        words += [f"mean {_numbers(self.mean)}"] if self.mean is not None else []
        words += [f"deviation {_numbers(self.deviation)}"] if self.deviation is not None else []
        return ", ".join(words)

    def to_json(self) -> str:
        """One line of JSON; `preparation_from_json` gives it back unchanged. The mean picture is in base64."""
        fields = msgspec.to_builtins(self)
        return json.dumps({**fields.pop("others"), **fields})


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def preparation_from_json(text: str, where: str = "JSON") -> Preparation:
    """A preparation from JSON text. Raises InputError, whose message starts with `where`."""
    fields = parse_json(text, where, "preparation fields", InputError, most=MOST_JSON)
    if "size" not in fields:
        raise InputError(f"{where}: size: missing; expected {FIELDS['size']}")
    try:
        return _from_fields(fields)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _from_fields(fields: Mapping[str, Any]) -> Preparation:
    known = {name: value for name, value in fields.items() if name in FIELDS}
    if isinstance(picture := known.get("mean_picture"), str):
        try:
            known["mean_picture"] = msgspec.convert(picture, bytes)
        except msgspec.ValidationError:
            refuse("mean_picture", picture, "base64", InputError)
    found = Preparation(**known)
    force_setattr(found, "others", {name: value for name, value in fields.items() if name not in FIELDS})
    return found


class Inputs(NamedTuple):
    """What a network's weights say of its pictures: their preparation, and the names of the classes in order."""

    preparation: Preparation
    classes: tuple[str, ...]


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
GRAY_MEAN = (0.2860,)
GRAY_DEVIATION = (0.3530,)


def standard_preparation(size: tuple[int, int], channels: int) -> Preparation:
    """torchvision's ImageClassification: the shorter side to 256 for 224, the center, and ImageNet's constants.

    For a single channel the constants are Fashion-MNIST's. This is what is assumed of weights that say nothing.
    """
    means, deviations = (IMAGENET_MEAN, IMAGENET_DEVIATION) if channels > 1 else (GRAY_MEAN, GRAY_DEVIATION)
    order = [index % len(means) for index in range(channels)]
    return Preparation(
        size=size,
        channels=channels,
        mean=tuple(means[index] for index in order),
        deviation=tuple(deviations[index] for index in order),
    )
