"""Keras' own files of weights: HDF5, alone or in a .keras archive. They are read as data; no model is made of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from resnet_core.errors import WeightsError
from resnet_keras.checkpoint import read_checkpoint, write_checkpoint

#: What each of a layer's variables is, in the order in which Keras writes them.
_VARIABLES = {
    1: ("kernel",),
    2: ("kernel", "bias"),
    4: ("gamma", "beta", "moving_mean", "moving_variance"),
}
#: Where layers are that have numbers: in files of Keras 3, and in those of 2.12 to 2.15 in the same format.
_PLACES = ("layers", "_layer_checkpoint_dependencies")
_EXPECTED = "expected a file that Keras wrote: .weights.h5, .h5 or .keras"
#: Keras compresses nothing: what a file holds is no larger than the file.
_SLACK = 1_000_000
_MOST_LAYERS = 100_000


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """{"layer/variable": array} of a file of weights, kernels as Keras has them. Executes nothing.

    float16 becomes float32. Raises WeightsError for anything but HDF5 of plain arrays that are in the file itself, or
    the index of a TensorFlow checkpoint.
    """
    if path.suffix == ".index":
        return read_checkpoint(path)
    try:
        data = _weights_of_archive(path) if path.suffix == ".keras" else path.read_bytes()
        with h5py.File(io.BytesIO(data), "r") as file:
            _require_plain(file, len(data))
            found = dict(_layers(file))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:  # HDF5 raises almost anything on damaged data
        raise WeightsError(
            f"{path}: cannot be read ({type(error).__name__}: {str(error)[:120]}); {_EXPECTED}"
        ) from error
    if not found:
        raise WeightsError(f"{path}: holds no layer with weights; {_EXPECTED}")
    return found


def write_state_dict(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Weights of these layers {"layer/variable": array}, in this order, as Keras writes a model that has them so.

    A file .weights.h5 is of Keras 3, where a layer is found by how many of its kind stand before it; any other .h5 is
    of the form before that, which goes by the order of all layers. So the order is a part of both. An index is that of
    a TensorFlow checkpoint, whose data are written beside it.
    """
    if path.suffix == ".index":
        write_checkpoint(path, arrays)
        return
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        layer, _, variable = name.partition("/")
        layers.setdefault(layer, {})[variable] = array
    with h5py.File(path, "w") as file:
        (_write_numbered if path.name.endswith(".weights.h5") else _write_named)(file, layers)


def _weights_of_archive(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = [info for info in archive.infolist() if info.filename == "model.weights.h5"]
        if len(names) != 1:
            raise WeightsError(f"is an archive with {len(names)} files model.weights.h5; {_EXPECTED}")
        if names[0].file_size > 4 * path.stat().st_size + _SLACK:
            raise WeightsError(f"says that it unpacks to {names[0].file_size} bytes; Keras compresses nothing")
        return archive.read(names[0])


def _require_plain(file: Any, size: int) -> None:
    """Everything is a hard link, and each array lies in this file, uncompressed or not, and is no larger than it."""
    total, groups, seen = 0, [("", file)], 0
    while groups:
        place, group = groups.pop()
        for name in group:
            seen += 1
            where = f"{place}/{name}"
            if seen > _MOST_LAYERS or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(f"{where} is a link to elsewhere, or one of too many; {_EXPECTED}")
            item = group[name]
            if isinstance(item, h5py.Group):
                if where.count("/") > 40:
                    raise WeightsError(f"{where}: is nested too deep; {_EXPECTED}")
                groups.append((where, item))
                continue
            if item.is_virtual or item.external:
                raise WeightsError(f"{where} lies in another file; {_EXPECTED}")
            total += item.size * item.dtype.itemsize
            if total > 20 * size + _SLACK:
                raise WeightsError(f"{where}: says that it holds more than the file; {_EXPECTED}")


def _layers(file: Any) -> Iterator[tuple[str, np.ndarray]]:
    for place in _PLACES:
        if place in file:
            yield from _numbered(file[place])
            return
    yield from _named(file.get("model_weights", file))


def _numbered(layers: Any) -> Iterator[tuple[str, np.ndarray]]:
    """`layers/conv2d_3/vars/0`; the layer's own name is an attribute since Keras 3.6, before that it is nowhere."""
    for key in layers:
        variables = layers[key].get("vars", {})
        if not len(variables):
            continue
        name = variables.attrs.get("name", f"layers/{key}")
        yield from _arrays(str(name), [variables[str(number)] for number in range(len(variables))])


def _named(layers: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Keras' older files: a group for each layer, whose attribute says where its weights are."""
    names = layers.attrs.get("layer_names")
    if names is None:
        raise WeightsError(f"has neither layers nor layer_names; {_EXPECTED}")
    for layer in map(_text, names):
        weights = [_text(name) for name in layers[layer].attrs["weight_names"]]
        for name in weights:
            variable = name.rpartition("/")[2].partition(":")[0]
            yield f"{layer}/{variable}", _array(f"{layer}/{variable}", layers[layer][name])


def _arrays(layer: str, variables: list[Any]) -> Iterator[tuple[str, np.ndarray]]:
    if len(variables) not in _VARIABLES:
        raise WeightsError(
            f"{layer}: received {len(variables)} variables; expected a convolution, a norm or a dense layer"
        )
    for variable, array in zip(_VARIABLES[len(variables)], variables, strict=True):
        yield f"{layer}/{variable}", _array(f"{layer}/{variable}", array)


def _array(name: str, dataset: Any) -> np.ndarray:
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        raise WeightsError(f"{name} is {dataset.dtype}; expected floating-point numbers")
    array = dataset[()]
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _write_numbered(file: Any, layers: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    counts: dict[str, int] = {}
    for layer, variables in layers.items():
        kind = _kind(variables)
        number = counts[kind] = counts.get(kind, -1) + 1
        group = file.create_group(f"layers/{kind}{f'_{number}' if number else ''}/vars")
        group.attrs["name"] = layer
        for place, variable in enumerate(_order(variables)):
            group[str(place)] = variables[variable]


def _write_named(file: Any, layers: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    file.attrs["layer_names"] = [layer.encode() for layer in layers]
    for layer, variables in layers.items():
        group = file.create_group(layer)
        names = [f"{layer}/{variable}" for variable in _order(variables)]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, variable in zip(names, _order(variables), strict=True):
            group[name] = variables[variable]


def _order(variables: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    return next(own for own in _VARIABLES.values() if set(own) == set(variables))


def _kind(variables: Mapping[str, np.ndarray]) -> str:
    if "gamma" in variables:
        return "batch_normalization"
    return "conv2d" if variables["kernel"].ndim == 4 else "dense"
