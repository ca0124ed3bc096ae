"""In which backend a network is run. For most, nothing that has arrays is imported: its process can start early."""

from __future__ import annotations

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
