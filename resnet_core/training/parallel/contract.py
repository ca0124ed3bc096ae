"""What a backend offers so that several processes train one network, in its file `parallel.py`.

In each framework it is the framework's own way: PyTorch adds up what `torch.distributed` reduces, in norms of our own;
in JAX the same compiled step takes batches that are sharded over a mesh, whose statistics and sums are global.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import Trainer, TrainingState
from resnet_core.training.parallel.group import Group
from resnet_core.training.recipe import Recipe


class ParallelTrainer(Trainer, Protocol):
    """A `Trainer` that is one of several, each in a process of its own, with the same spec, recipe and state.

    `step` takes this process's shard of a batch (`shards.shard`): its inputs say how many images the whole batch has,
    and by the mask which rows only fill the shard up. It returns the loss and the number of correct images of the whole
    batch, and leaves the same weights and slots as one process's step on that batch, but for rounding; weights,
    statistics and slots are the same in all processes. An image alone in its shard is no error: the whole batch has
    been checked. `predict` is about the images that it is given, here alone. All processes call `step` and `state`
    alike and in the same order.
    """

    #: Whether all shards must have the same number of rows.
    equal: ClassVar[bool]
    #: Whether a shard may be whole groups that norms take by themselves (a recipe's `statistics_batch`). Their
    #: statistics need nobody else; running ones learn from all groups, rank after rank (`learned_together`).
    grouped: ClassVar[bool]
    #: Whether it may have several devices of one process instead: then `join` has met nobody, and its group has a
    #: number for each of them. Its `step` takes the shards of all, one after the other (`devices.DevicesTrainer`).
    devices: ClassVar[bool]

    def __init__(
        self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None, group: Group
    ) -> None: ...
