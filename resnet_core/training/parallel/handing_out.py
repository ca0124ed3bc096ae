"""What rank 0 has read from the run's folder, handed out to the others: they need not see its checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from resnet_core.training.contract import TrainingState
from resnet_core.training.parallel.group import Group, told

_AVERAGE = "average."


def handed_out(
    group: Group, state: TrainingState | None, progress: dict[str, Any]
) -> tuple[TrainingState, dict[str, Any]]:
    """The state and the progress of rank 0, in every process; those that the others give are ignored."""
    own = {} if state is None else state.to_arrays() | {f"{_AVERAGE}{n}": array for n, array in state.average.items()}
    about = told(
        group,
        {
            "step": 0 if state is None else state.step,
            "progress": progress,
            "arrays": [(name, array.shape, array.dtype.name) for name, array in own.items()],
        },
    )
    found = {
        name: group.broadcast(own[name] if group.rank == 0 else np.zeros(shape, dtype))
        for name, shape, dtype in about["arrays"]
    }
    received = TrainingState.from_arrays(found, about["step"])
    received.average = {n.removeprefix(_AVERAGE): array for n, array in found.items() if n.startswith(_AVERAGE)}
    return received, about["progress"]
