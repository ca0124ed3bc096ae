"""Reading weights from any supported file: a neutral file, or torchvision's state_dict as .safetensors or .pth."""

from __future__ import annotations

import contextlib
from pathlib import Path

from resnet_core.analysis import state
from resnet_core.backend import backends, declared, environment
from resnet_core.conversion.torchvision_names import from_torchvision, is_torchvision
from resnet_core.errors import BackendError, InputError, WeightsError
from resnet_core.files import read_bytes
from resnet_core.safetensors_file import read_safetensors
from resnet_core.specification import ResNetSpec
from resnet_core.weight_file import load_weights
from resnet_core.weights import Weights, check_weights
from resnet_core.workers.parent import Worker


def read_weights(path: Path, spec: ResNetSpec) -> Weights:
    """Neutral weights for `spec`, checked. A framework's own file is read by the backend that declares its
    ending in `READS`, in a separate process.

    Raises WeightsError, one line, for a file that is damaged, of another kind or of another network.
    """
    if path.suffix == ".safetensors":
        arrays, _metadata = read_safetensors(path)
        if not is_torchvision(arrays):
            return load_weights(path, spec=spec)[0]
    else:
        read_bytes(path, "a .safetensors file or a PyTorch checkpoint")
        backend = backend_that_reads(path)
        with Worker(defaults=environment(backend)) as worker:
            arrays = worker.call("read_state_dict", backend=backend, path=str(path.absolute()))[1]
    try:
        return check_weights(from_torchvision(arrays), state(spec))
    except WeightsError as error:
        raise WeightsError(
            f"{path}: a torchvision checkpoint, but not of {spec.name or 'this spec'}: {error}"
        ) from error


def backend_that_reads(path: Path) -> str:
    """The registered backend that reads files with this ending. Raises InputError if there is none."""
    endings: dict[str, str] = {}
    for name in reversed(backends()):
        with contextlib.suppress(InputError, BackendError):  # a broken backend reads nothing
            endings |= dict.fromkeys(declared(name, "READS", ()), name)
    if path.suffix not in endings:
        raise InputError(
            f"{path}: received the ending {path.suffix!r}; expected .safetensors"
            + (f" or one of {', '.join(endings)}" if endings else "")
        )
    return endings[path.suffix]
