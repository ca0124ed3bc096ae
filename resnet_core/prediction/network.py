"""A trained network, from whatever names it: a run, a weight file, or a spec with weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from msgspec import structs

from resnet_core.analysis import state
from resnet_core.conversion.read import Imported, import_weights, may_be_imported
from resnet_core.errors import InputError
from resnet_core.preparation import Preparation, standard_preparation
from resnet_core.spec_files import Source, brings_weights, is_run, is_weight_file
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.training.run_folder import RunFolder
from resnet_core.weight_file import WeightFile, read_weight_file
from resnet_core.weights import Weights, check_weights


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A spec with weights, and what they say of their pictures.

    `assumed` is a sentence where the preparation is not known but assumed, else empty. `classes` are names, or None;
    `backend` is the one that trained a run last.
    """

    spec: ResNetSpec
    weights: Weights
    preparation: Preparation
    classes: tuple[str, ...] | None
    assumed: str = ""
    backend: str | None = None

    def __repr__(self) -> str:
        names = f"{len(self.classes)} named classes" if self.classes else f"{self.spec.classes} classes"
        pictures = f"{'x'.join(map(str, self.preparation.size))} pictures{' (assumed)' if self.assumed else ''}"
        return f"<TrainedNetwork: {self.spec.name or 'a network'}, {len(self.weights)} tensors, {names}, {pictures}>"


def trained_network(
    source: Source,
    weights: str | os.PathLike[str] | Mapping[str, np.ndarray] | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> TrainedNetwork:
    """The network of a run's folder (its best weights), of a file of weights, or of a spec with `weights`.

    Another library's file may stand in the place of the spec too: its network is inferred.

    `size` is assumed of pictures of which the weights say nothing; by default the input size of the file's spec.

    Raises InputError, one line, for a spec without weights, and for weights that cannot be read or do not fit.
    """
    if weights is None and brings_weights(source) and not isinstance(source, ResNetSpec):
        place = Path(source)
        return _of_run(place) if is_run(place) else _of_file(read_weight_file(place), place, None, size)
    if weights is None and not isinstance(source, ResNetSpec) and may_be_imported(source):
        return _imported(import_weights(source), size)
    spec = read_spec(source)
    if weights is None:
        raise InputError(
            f"{spec.name or 'the spec'}: received no weights; expected some with it, or the folder of a run, or a "
            "weight file, in its place"
        )
    if isinstance(weights, Mapping):
        arrays = check_weights(weights, state(spec))
        return TrainedNetwork(spec, arrays, *_standard(spec, "the given weights", size))
    if not isinstance(weights, str | os.PathLike):
        raise InputError(f"weights: received a {type(weights).__name__}; expected {{name: array}}, or a file's name")
    path = Path(weights)
    if is_weight_file(path):
        return _of_file(read_weight_file(path, spec=spec), path, spec, size)
    return _imported(import_weights(path, spec), size)


def _of_run(folder: Path) -> TrainedNetwork:
    """With the best weights, or before the first epoch has ended, the last."""
    best = folder / "best.safetensors"
    found = read_weight_file(best if best.exists() else folder / "last.safetensors")
    run = RunFolder(folder)
    network = _of_file(found, folder, None, None)
    if found.preparation is None and (preparation := run.early_preparation()) is not None:
        told = f"{folder}: its weights say nothing of their pictures; by the run's recipe it is {preparation}"
        network = replace(network, preparation=preparation, classes=run.early_classes(), assumed=told)
    return replace(network, backend=run.last_backend())


def _imported(found: Imported, size: tuple[int, int] | None) -> TrainedNetwork:
    preparation, assumed = found.preparation, ""
    if preparation is None:
        preparation, _, assumed = _standard(found.spec, found.path, size)
    elif found.assumed:
        preparation = structs.replace(preparation, size=size or preparation.size)
        assumed = f"{found.path}: says nothing of its pictures; assumed is {preparation}, as for {found.title}"
    return TrainedNetwork(found.spec, found.weights, preparation, found.classes, assumed)


def _of_file(found: WeightFile, name: Path, spec: ResNetSpec | None, size: tuple[int, int] | None) -> TrainedNetwork:
    own = spec or found.spec
    if found.preparation is not None:
        return TrainedNetwork(own, found.weights, found.preparation, found.classes)
    preparation, _, assumed = _standard(found.spec, name, size)
    return TrainedNetwork(own, found.weights, preparation, found.classes, assumed)


def _standard(spec: ResNetSpec, name: str | Path, size: tuple[int, int] | None) -> tuple[Preparation, None, str]:
    preparation = standard_preparation(size or spec.input_size, spec.in_channels)
    return preparation, None, f"{name}: says nothing of its pictures; assumed is {preparation}"
