"""In which backend a network is run. For most, nothing that has arrays is imported: its process can start early."""

from __future__ import annotations

import os
from pathlib import Path

from resnet_core.backend import DEVICES, first_installed
from resnet_core.errors import require_choice
from resnet_core.spec_files import Source, is_run
from resnet_core.zoo import ZOO


def prediction_backend(backend: str | None, device: str, last: str | None) -> str:
    """The `backend` that was asked for, or the `last` that trained the network, or one that is installed.

    Raises InputError for a device that there is not, MissingBackendError if no backend is installed.
    """
    require_choice("device", device, DEVICES)
    return backend or first_installed(last)


def last_backend(network: Source) -> str | None:
    """The backend of a run's last session; None for anything else. Raises InputError for a damaged run."""
    if not isinstance(network, str | Path) or str(network) in ZOO or not is_run(Path(network)):
        return None
    from resnet_core.training.run_folder import RunFolder

    return RunFolder(Path(network)).last_backend()


def has_weights(network: Source, weights: str | Path | None) -> bool:
    """Whether what names a network and its weights is there, as far as that is seen without reading anything."""
    is_spec = not isinstance(network, str | Path) or str(network) in ZOO
    if weights is None:
        return not is_spec and _is_there(str(network))
    return _is_there(weights) and (is_spec or _is_there(str(network)))


def _is_there(name: str | Path) -> bool:
    """A file, a folder, or a name of published weights, which has a colon."""
    return ":" in str(name) or os.path.exists(name)  # noqa: PTH110 (which has no error for a name that is too long)
