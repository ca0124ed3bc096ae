"""Reading weights from any supported file: a neutral file, or torchvision's state_dict as .safetensors or .pth."""

from __future__ import annotations

import contextlib
from pathlib import Path

from resnet_core.analysis import state
from resnet_core.backend import backends, declared, environment
from resnet_core.conversion.torchvision_names import from_torchvision, is_torchvision, without_prefix
from resnet_core.errors import BackendError, InputError, WeightsError
from resnet_core.files import read_bytes
from resnet_core.safetensors_file import read_safetensors
from resnet_core.spec_files import is_weight_file
from resnet_core.specification import ResNetSpec
from resnet_core.weight_file import read_weight_file
from resnet_core.weights import Weights, check_weights
from resnet_core.workers.parent import Worker


def read_weights(path: str | Path, spec: ResNetSpec | None = None) -> Weights:
    """Neutral weights of a file. With `spec`, they are checked to be that network's.

    Neutral files, and torchvision's state_dict in its usual wrappings. A framework's own file is read by the backend
    that declares its ending in `READS`, in a separate process. float16 and bfloat16 become float32.

    Raises WeightsError, one line, for a file that is damaged, of another kind or of another network.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        if is_weight_file(path):
            return read_weight_file(path, spec=spec).weights
        arrays, _metadata = read_safetensors(path, widen=True)
    else:
        read_bytes(path, "a .safetensors file or a PyTorch checkpoint")
        backend = backend_that_reads(path)
        with Worker(defaults=environment(backend)) as worker:
            arrays = worker.call("read_state_dict", backend=backend, path=str(path.absolute()))[1]
    arrays = without_prefix(arrays)
    if not is_torchvision(arrays):
        raise WeightsError(
            f"{path}: its names ({', '.join(list(arrays)[:3])}, …) are neither this project's nor torchvision's; "
            "expected a file written by resnet_core.save_weights, or a torchvision ResNet"
        )
    try:
        weights = from_torchvision(arrays)
        return weights if spec is None else check_weights(weights, state(spec))
    except WeightsError as error:
        name = "a ResNet that this project reads" if spec is None else spec.name or "this spec"
        raise WeightsError(f"{path}: a torchvision checkpoint, but not of {name}: {error}") from error


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
