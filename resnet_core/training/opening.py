"""What a run says before its first step, in a line."""

from __future__ import annotations

from math import prod
from pathlib import Path

from resnet_core.analysis import parameters, totals
from resnet_core.specification import ResNetSpec
from resnet_core.training.parallel.group import Group
from resnet_core.training.parameters import treatments
from resnet_core.training.pipeline import Pipeline
from resnet_core.training.recipe_files import title


def opening_line(spec: ResNetSpec, pipeline: Pipeline, *, backend: str, device: str, done: int) -> str:
    """Network, data, length, recipe and backend."""
    data, (height, width), count = pipeline.data, pipeline.size, totals(spec).parameters
    shapes = parameters(spec)
    trained = sum(prod(shapes[name]) for name in treatments(spec, pipeline.recipe))
    share = "all trained" if trained == count else f"{trained:,} trained and {count - trained:,} frozen"
    fields = f"classes = {spec.classes}, in_channels = {spec.in_channels}, {height} x {width}"
    network = f"{spec.name or 'the network'} ({count:,} parameters, {share}, {fields})"
    pictures = f"{data.name}: {len(data.train):,} training and {len(data.test):,} {data.test_name} pictures"
    taken = f", {done:,} of them taken" if done else ""
    length = f"{pipeline.total_steps:,} steps, {pipeline.steps_per_epoch:,} an epoch{taken}"
    return f"{network} on {pictures}; {length}, by the recipe {title(pipeline.recipe)}, in {backend} on {device}"


def devices_line(devices: int) -> str:
    """What several devices of this process do of a run."""
    return f"{devices} devices of this process, each with its rows of every batch"


def several_line(group: Group, run: Path) -> str:
    """What several processes do of a run."""
    return (
        f"{group.processes} processes, each with its rows of every batch; rank 0 alone writes {run}, which no other "
        "machine needs to see, and hands out the weights with which all begin"
    )
