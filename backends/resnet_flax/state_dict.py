"""Flax' own files: a state in msgpack, or a folder of Orbax."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from resnet_core.errors import WeightsError
from resnet_core.weights import StateDict

#: Above these a file is no network's state.
MOST_TENSORS, DEEPEST = 100_000, 100
_EXPECTED = "expected a state of Flax: nested names with arrays"


def read_state_dict(path: Path) -> StateDict:
    """{names joined by /: array} of a .msgpack file, or of a folder that Orbax wrote. Executes no code.

    float16 and bfloat16 become float32. What is no array, such as a scale that is not there, is in `beside`. Raises
    WeightsError for anything else.
    """
    try:
        content = _orbax(path) if path.is_dir() else serialization.msgpack_restore(path.read_bytes())
    except Exception as error:  # the readers raise almost anything on damaged data
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path}: cannot be read ({type(error).__name__}: {first[:120]}); {_EXPECTED}") from error
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{path}: holds a {type(content).__name__}; {_EXPECTED}")
    entries = dict(_flat(path, content))
    if len(entries) > MOST_TENSORS:
        raise WeightsError(f"{path}: holds {len(entries)} tensors; {_EXPECTED}")
    found = StateDict({name: array for name, array in entries.items() if array is not None})
    found.beside = tuple(name for name, array in entries.items() if array is None)
    return found


def write_state_dict(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """The arrays under their nested names: into an empty folder as Orbax writes them, else as `flax.serialization`."""
    state: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, last = name.split("/")
        place = state
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = np.array(array)
    if path.is_dir():
        _write_orbax(path, state)
    else:
        path.write_bytes(serialization.msgpack_serialize(state))


def _write_orbax(folder: Path, state: Mapping[str, Any]) -> None:
    import orbax.checkpoint

    # Orbax makes its folder itself, by way of a temporary one beside it, so that here both lie inside.
    inner = folder.absolute() / "checkpoint"
    with orbax.checkpoint.Checkpointer(orbax.checkpoint.PyTreeCheckpointHandler()) as writer:
        writer.save(inner, args=orbax.checkpoint.args.PyTreeSave(state))
    for entry in list(inner.iterdir()):
        entry.rename(folder / entry.name)
    inner.rmdir()
    committed = folder / "commit_success.txt"  # which stores without a rename look for; it says where this was written
    if committed.exists():
        committed.write_text("Checkpoint commit was successful", encoding="utf-8")


def _orbax(folder: Path) -> Any:
    import orbax.checkpoint

    # Orbax writes a checkpoint's items in folders of their own where it manages several steps.
    inner = folder / "default"
    handler = orbax.checkpoint.PyTreeCheckpointHandler()
    with orbax.checkpoint.Checkpointer(handler) as reader:
        place = inner if inner.is_dir() else folder
        about = reader.metadata(place.absolute())
        tree = getattr(about, "item_metadata", about)
        given = orbax.checkpoint.args.PyTreeRestore(
            restore_args=jax.tree.map(lambda _: orbax.checkpoint.RestoreArgs(restore_type=np.ndarray), dict(tree.tree))
        )
        return reader.restore(place.absolute(), args=given)


def _flat(path: Path, content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, np.ndarray | None]]:
    """(name, array) of all that is in it, in lists by its number; None for what is no array."""
    if depth > DEEPEST:
        raise WeightsError(f"{path}: nests deeper than {DEEPEST} names; {_EXPECTED}")
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        name = f"{place}/{key}" if place else str(key)
        if isinstance(value, Mapping | list | tuple):
            yield from _flat(path, value, name, depth + 1)
        elif isinstance(value, np.ndarray | np.generic | jax.Array | int | float):
            array = np.asarray(value)
            half = array.dtype in (jnp.bfloat16, jnp.float16)
            yield name, array.astype(np.float32) if half else array
        else:
            yield name, None
