"""TensorFlow's checkpoints, of which slim's are: an index, and the data beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_core.errors import WeightsError

#: What is read of a checkpoint, and as what; its texts describe the graph.
_STORED = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64",
           "int32": "int32", "int64": "int64"}  # fmt: skip


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The variables of a TensorFlow checkpoint, by their names; its data lie beside the index."""
    tensorflow = _tensorflow(path)
    try:
        reader = tensorflow.train.load_checkpoint(str(path.with_suffix("")))
        types = reader.get_variable_to_dtype_map()
        found = {name: reader.get_tensor(name) for name in sorted(types) if types[name].name in _STORED}
        return {name: array.astype(_STORED[array.dtype.name]) for name, array in found.items()}
    except Exception as error:  # TensorFlow raises almost anything on damaged data
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"{path}: cannot be read ({reason}); expected a TensorFlow checkpoint") from error


def write_checkpoint(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """The variables under their names, as a Saver's operation writes them: the index, and its data beside it."""
    names, tensors = list(arrays), list(arrays.values())
    _tensorflow(path).raw_ops.SaveV2(
        prefix=str(path.with_suffix("")), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )


def _tensorflow(path: Path) -> Any:
    try:
        import tensorflow
    except ImportError as error:
        raise WeightsError(f"{path}: is a TensorFlow checkpoint, and TensorFlow is not installed") from error
    return tensorflow
