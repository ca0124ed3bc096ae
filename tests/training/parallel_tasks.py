"""What the processes of a group are asked in the tests of several processes."""

from __future__ import annotations

from typing import Any

from shared_steps import RECIPES, SPECS, start, taken

from resnet_core.training.parallel.place import Place
from resnet_core.training.parallel.trainer import ShardingTrainer
from resnet_core.workers.child import Arrays


def meet(session: Any, arrays: Arrays, *, rank: int, processes: int, port: int) -> tuple[None, None]:
    """Join a group of so many, after leaving an earlier one."""
    import torch

    import resnet_torch

    torch.set_num_threads(1)
    if getattr(session, "group", None) is not None:
        session.group.leave()
    session.group = resnet_torch.join(Place(rank, processes, port=port), "cpu")
    return None, None


def share(session: Any, arrays: Arrays, *, spec: str, recipe: str, count: int, dtype: str) -> tuple[None, Arrays]:
    """What this process has after so many steps of the group."""
    import resnet_torch

    network, plan = SPECS[spec], RECIPES[recipe]
    own = resnet_torch.ParallelTrainer(network, plan, start(network, dtype), dtype=dtype, group=session.group)
    trainer = ShardingTrainer(own, session.group, plan.accumulate, equal=own.equal)
    return None, taken(trainer, network, plan, count)
