"""The output stride of a graph's network: where the dilation of its convolutions grows, a stride was taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise, product
from math import prod
from typing import Any

from resnet_core.conversion.graph_layers import Step
from resnet_core.conversion.graph_parts import Parts


def dense(parts: Parts, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """More fields of the dense networks that the graph may be, whose stages are those of `fields`; or none at all.

    The convolution that lost its stride keeps the rate before, and what follows it has the next one. Where the stride
    was in a block, which nothing else may show any more, is tried.
    """
    wide = [[step for step in body if step.tensors["weight"][1].shape[-1] > 1] for body in parts.bodies]
    if not all(wide) or not any(_rate(step) > 1 for block in wide for step in block):
        return
    ends = [0, *accumulate(fields["depths"])]
    stages = [wide[start:end] for start, end in pairwise(ends)]
    places = ("3x3", "1x1") if fields["block"] == "bottleneck" else ("3x3",)
    for unit, place in product(("first", "last"), places):
        rates = [1]
        for stage, following in zip(stages, [*stages[1:], None], strict=True):
            rates.append(_rate_behind(stage, following, rates[-1], unit, place))
        if all(after % before == 0 for before, after in pairwise(rates)) and rates[-1] > 1:
            nominal = [
                own * after // before for own, (before, after) in zip(fields["strides"], pairwise(rates), strict=True)
            ]
            reached = _stem_stride(fields) * prod(fields["strides"])
            yield {"strides": nominal, "output_stride": reached, "stride_unit": unit, "stride_on": place}


def _rate_behind(
    stage: list[list[Step]], following: list[list[Step]] | None, before: int, unit: str, place: str
) -> int:
    """The dilation of what follows the stage's stride: in the same block, in the next one, or in the next stage."""
    strided = 0 if unit == "first" else len(stage) - 1
    behind = stage[strided] if place == "1x1" else stage[strided][1:]
    rest = [step for block in stage[strided + 1 :] for step in block]
    first = [] if following is None else following[0][:1]
    return next((_rate(step) for step in (*behind, *rest, *first)), before)


def _rate(step: Step) -> int:
    rate: int = step.numbers["dilation"][0]
    return rate


def _stem_stride(fields: Mapping[str, Any]) -> int:
    if not fields.get("stem", True):
        return 1
    stride: int = fields["stem_stride"]
    return stride * (1 if fields["stem_pool"] == "none" else fields["stem_pool_stride"])
