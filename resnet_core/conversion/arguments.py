"""Fields that a library's function takes as arguments, and for which networks it computes the same with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from resnet_core.specification import ResNetSpec


@dataclass(frozen=True)
class Argument:
    """A field that the function of a program takes as an argument: the same tensors serve all its values.

    - `name`: of the field, and of the argument where `by_stage` is empty.
    - `values`: those that it takes; () for any.
    - `only`: fields that a network has to have, since others are dilated otherwise there, or not at all.
    - `projects_by_width`: whether a stage has a projection only where its width changes: one that begins at a stride
      alone has none in the dense network.
    - `most`: the greatest dilation that it computes as here; 0 for any.
    - `by_stage`: the argument that takes, for each stage but the first, whether its stride becomes dilation.
    """

    name: str
    values: tuple[Any, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    projects_by_width: bool = False
    most: int = 0
    by_stage: str = ""

    def hinders(self, spec: ResNetSpec) -> str | None:
        """What hinders its program to compute this network, said of it; None where nothing does."""
        if self.values and getattr(spec, self.name) not in self.values:
            return f"takes {', '.join(map(str, self.values))}"
        dense = _dense_stages(spec)
        if not any(dense):
            return None
        if self.most and (reached := spec.block_strides()[-1][-1].dilation_after) > self.most:
            return f"has no dilation of {reached}"
        for name, value in self.only.items():
            if getattr(spec, name) != value:
                return f'is another network then, with {name} = "{getattr(spec, name)}"'
        widths = pairwise([spec.stem_width, *map(spec.output_width, spec.channels)])
        if self.projects_by_width and any(same and own == out for same, (own, out) in zip(dense, widths, strict=True)):
            return "has no projection then in a stage of the width before"
        return None

    def told(self, spec: ResNetSpec) -> dict[str, Any]:
        """{argument: value}, as the function is called for this network."""
        return {self.by_stage: _dense_stages(spec)[1:]} if self.by_stage else {self.name: getattr(spec, self.name)}


def _dense_stages(spec: ResNetSpec) -> list[bool]:
    """For each stage, whether an output stride takes a stride of it."""
    usual = replace(spec, output_stride=None).block_strides()
    own = spec.block_strides()
    return [any(a.stride != b.stride for a, b in zip(*stage, strict=True)) for stage in zip(own, usual, strict=True)]
