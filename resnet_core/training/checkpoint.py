"""Checkpoints: a safetensors file with everything that the rest of a run depends on.

It holds the weights by neutral name, the optimizer slots as `opt/SLOT/PARAMETER`, the
average of the weights, where the run has one, as `average/NAME`, and in its metadata the spec, the
recipe, the step, the progress so far and the fingerprint of the data. The pipeline and all randomness are functions of
the seed and the step, so nothing else needs to be saved.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from resnet_core.analysis import state as state_shapes
from resnet_core.errors import InputError, NewerFormatError, WeightsError
from resnet_core.fields import parse_json
from resnet_core.safetensors_file import digest, read_safetensors, write_safetensors
from resnet_core.spec_files import from_json, to_json
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import TrainingState
from resnet_core.training.parameters import treatments
from resnet_core.training.recipe import Recipe
from resnet_core.training.recipe_files import recipe_from_json, recipe_to_json
from resnet_core.weights import Weights, check_weights

FORMAT = "checkpoint 1"


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file. `progress` belongs to the run loop; `data` is the data set's fingerprint, None
    in a file that was written before there was one."""

    spec: ResNetSpec
    recipe: Recipe
    state: TrainingState
    progress: dict[str, Any]
    data: str | None = None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically. Raises InputError if it cannot be written."""
    state = checkpoint.state
    arrays = dict(check_weights(state.weights, state_shapes(checkpoint.spec)))
    for slot, values in state.slots.items():
        arrays |= {f"opt/{slot}/{name}": array for name, array in values.items()}
    arrays |= {f"average/{name}": array for name, array in state.average.items()}
    metadata = {
        "format": FORMAT,
        "progress": json.dumps(checkpoint.progress),
        "recipe": recipe_to_json(checkpoint.recipe),
        "spec": to_json(checkpoint.spec),
        "step": str(state.step),
        **({} if checkpoint.data is None else {"data": checkpoint.data}),
    }
    write_safetensors(path, arrays, {**metadata, "digest": _digest(arrays, metadata)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint. Raises WeightsError, one line, for anything that is not exactly such a file, and
    NewerFormatError for one of a later version."""
    arrays, metadata = read_safetensors(path)
    kind = metadata.get("format", "")
    if kind != FORMAT:
        if re.fullmatch(r"checkpoint \d{1,9}", kind):
            raise NewerFormatError(
                f"{path}: has format {kind!r}; this version reads {FORMAT!r}: use the one that wrote it"
            )
        raise WeightsError(f"{path}: not a checkpoint of a run (format {kind!r})")
    if _digest(arrays, metadata) != metadata.get("digest"):
        raise WeightsError(f"{path}: the digest does not match: the file was damaged or changed")
    try:
        return _checkpoint(path, arrays, metadata)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, RecursionError) as error:  # made by hand: its digest fits
        raise WeightsError(f"{path}: not a checkpoint of a run ({type(error).__name__}: {error})") from error


def _checkpoint(path: Path, arrays: Weights, metadata: Mapping[str, str]) -> Checkpoint:
    """What is in a file whose digest is right; somebody may have made it by hand."""
    spec, recipe = from_json(metadata["spec"], str(path)), recipe_from_json(metadata["recipe"], str(path))
    shapes = state_shapes(spec)
    weights, average = Weights(), Weights()
    slots: dict[str, Weights] = {}
    for name, array in arrays.items():
        match name.split("/"):
            case ["opt", slot, parameter]:
                slots.setdefault(slot, {})[parameter] = array
            case ["average", tensor]:
                average[tensor] = array
            case _:
                weights[name] = array
    if slots and slots.keys() != set(recipe.slots):
        raise WeightsError(f"{path}: holds optimizer slots {', '.join(slots)}; expected {', '.join(recipe.slots)}")
    trained = {name: shapes[name] for name in treatments(spec, recipe)}
    state = TrainingState(
        check_weights(weights, shapes),
        {slot: check_weights(values, trained) for slot, values in slots.items()},
        int(metadata["step"]),
        check_weights(average, shapes, "float64") if average else {},
    )
    progress = parse_json(metadata["progress"], str(path), "progress of a run", WeightsError)
    return Checkpoint(spec, recipe, state, msgspec.convert(progress, dict[str, float]), metadata.get("data"))


def _digest(arrays: Weights, metadata: Mapping[str, str]) -> str:
    """A digest of everything: a step or a recipe with a flipped bit may still be a valid one."""
    rest = {key: value for key, value in metadata.items() if key != "digest"}
    return hashlib.sha256((digest(arrays) + json.dumps(rest, sort_keys=True)).encode()).hexdigest()
