"""PyTorch's own checkpoint files."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnet_core.errors import WeightsError, printable
from resnet_core.weights import StateDict

_WIDENED = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
}
_EXPECTED = "expected a PyTorch state_dict written by torch.save"


#: The attribute of a folder in a zip archive (MS-DOS').
FOLDER = 0x10

#: Under which a checkpoint that holds more than weights keeps them, the first that is there.
KEYS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema")


def read_state_dict(path: Path) -> StateDict:
    """{name: array} of a .pth state_dict, or of a checkpoint that holds one. Executes no code (`weights_only`).

    float16 and bfloat16 become float32. What lies beside the weights, such as an optimizer's state, is in `beside`.
    Raises WeightsError for anything but a mapping of names to dense tensors of these or of float32 and float64 (apart
    from counters).
    """
    _require_whole(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch's readers raise almost anything on damaged data
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({_reason(error)}); {_EXPECTED}") from error
    beside: list[str] = []
    found = _weights_in(content, beside)
    if found is None:
        raise WeightsError(f"{path}: holds something other than a mapping of names to tensors; {_EXPECTED}")
    state_dict = StateDict({str(name): _array(path, str(name), tensor) for name, tensor in found.items()})
    state_dict.beside = tuple(beside)
    return state_dict


def _require_whole(path: Path) -> None:
    """Raise WeightsError for an archive that is damaged: PyTorch does not compare the CRCs that are in it.

    PyTorch stores tensors as they are, so that nothing in a file is larger than the file. Its format before 1.6 is no
    archive, and has nothing that could be compared.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > path.stat().st_size:
                raise WeightsError(f"{path}: holds more than its size, compressed; {_EXPECTED}")
            # PyTorch would read nothing of such a member, and leave in the tensor what was in memory before.
            if folders := [member.filename for member in members if member.external_attr & FOLDER]:
                raise WeightsError(f"{path}: {printable(folders[0])} in it is marked as a folder; get a fresh copy")
            damaged = archive.testzip()
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({_reason(error)}); {_EXPECTED}") from error
    if damaged is not None:
        raise WeightsError(f"{path}: {printable(damaged)} in it is damaged (its CRC); get a fresh copy")


def write_state_dict(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A state_dict of these arrays, in this order, as torch.save writes it."""
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)


def _weights_in(content: Any, beside: list[str]) -> Mapping[Any, torch.Tensor] | None:
    """The mapping of names to tensors; the keys of everything else are added to `beside`."""
    if not isinstance(content, dict) or not content:
        return None
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        return content
    for key in KEYS:
        inner: list[str] = []
        if (found := _weights_in(content.get(key), inner)) is not None:
            beside += [str(other) for other in content if other != key] + [f"{key}.{other}" for other in inner]
            return found
    return None


def _array(path: Path, name: str, tensor: torch.Tensor) -> np.ndarray:
    known = tensor.dtype in _WIDENED or name.endswith(".num_batches_tracked")
    if not known or tensor.layout != torch.strided or tensor.is_meta:
        kind = "without values" if tensor.is_meta else f"{tensor.dtype} ({tensor.layout})".replace("torch.", "")
        raise WeightsError(f"{path}: {name} is {kind}; expected floating-point numbers (strided): convert it first")
    return tensor.detach().to(_WIDENED.get(tensor.dtype, tensor.dtype)).numpy()


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # its message suggests loading without protection
        return "damaged, or it holds more than tensors; nothing in it was executed"
    first = str(error).partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {first[:120]}" if first else type(error).__name__
