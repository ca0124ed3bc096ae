"""One of several that train one network: `torch.distributed`, and norms over the whole batch.

Particular to PyTorch: its SyncBatchNorm takes no tensors on a CPU, and DistributedDataParallel takes the mean of the
processes' means, which is another number where shards are unequal. So the norms are those of this file, and gradients
are added up in one reduction.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.parallel.place import Place
from resnet_core.training.recipe import Recipe
from resnet_core.training.running_variance import learned_together
from resnet_torch.differentiation import dropping
from resnet_torch.inference import to_native
from resnet_torch.layers import GroupedBatchNorm2d
from resnet_torch.trainer import Trainer, hits


class Processes:
    """The contract's `Group`, and the same for tensors: gloo on a CPU, NCCL on GPUs."""

    def __init__(self, rank: int, processes: int, device: torch.device) -> None:
        self.rank, self.processes, self.device = rank, processes, device

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        return list(self.gathered(self._tensor(array)).cpu().numpy())

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        tensor = self._tensor(array)
        distributed.broadcast(tensor, 0)
        return tensor.cpu().numpy()

    def leave(self) -> None:
        distributed.destroy_process_group()

    def gathered(self, tensor: Tensor) -> Tensor:
        """(processes, …): everyone's tensor, by rank."""
        found = tensor.new_empty((self.processes, *tensor.shape))
        distributed.all_gather(list(found), tensor.contiguous())
        return found

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of everyone's, in the place of this one."""
        distributed.all_reduce(tensor)
        return tensor

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(np.ascontiguousarray(array), device=self.device)


def join(place: Place, device: str) -> Processes:
    """By the variables MASTER_ADDR and MASTER_PORT where they are set: torchrun has something of its own there."""
    own = torch.device("cuda", place.local_rank % torch.cuda.device_count()) if device == "gpu" else torch.device("cpu")
    if device == "gpu":
        torch.cuda.set_device(own)
    given = os.environ.keys() >= {"MASTER_ADDR", "MASTER_PORT"}
    distributed.init_process_group(
        "nccl" if device == "gpu" else "gloo",
        init_method="env://" if given else f"tcp://{place.address}:{place.port}",
        rank=place.rank,
        world_size=place.processes,
    )
    return Processes(place.rank, place.processes, own)


class ParallelTrainer(Trainer):
    """The contract's; a batch norm of its model is one over the whole batch while it is in training mode."""

    inputs: ClassVar[frozenset[str]] = Trainer.inputs | {"whole", "mask"}
    equal: ClassVar[bool] = False
    grouped: ClassVar[bool] = True
    devices: ClassVar[bool] = False

    def __init__(
        self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None, group: Any
    ) -> None:
        super().__init__(spec, recipe, state, dtype=dtype)
        self.group, self.shared, self.groups = group, Shared(group), recipe.groups
        self.decay = spec.norm_decay
        for module in self.model.modules() if self.groups == 1 else ():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = SharedBatchNorm2d
                module.shared = self.shared  # type: ignore[assignment]

    def _forward(self, part: StepInputs) -> Tensor:
        images = to_native(self.model, part.images)  # one image alone may be fine: there are others
        self.shared.images = part.whole or len(images)
        self.shared.mask = None if part.mask is None else torch.tensor(part.mask, dtype=images.dtype).to(images.device)
        norms = [m for m in self.model.modules() if isinstance(m, GroupedBatchNorm2d) and m.training]
        before = [value.clone() for value in _running(norms)]
        with dropping(self.model, part.factors):
            logits: Tensor = self.model(images.to(memory_format=self.format))
        if norms:
            self._learn_together(norms, before)
        return logits

    @torch.no_grad()
    def _learn_together(self, norms: list[GroupedBatchNorm2d], before: list[Tensor]) -> None:
        """Running statistics that have learned from this process's groups learn from those of all, in one reduction."""
        given = self.decay, self.groups, self.group.rank, self.group.processes, self.group.summed
        found = learned_together(torch.cat(before), torch.cat(_running(norms)), *given)
        values = found.split([len(value) for value in before])
        for norm, mean, variance in zip(norms, values[::2], values[1::2], strict=True):
            # In new tensors: the backward pass has kept the others.
            norm.running_mean, norm.running_var = mean.clone(), variance.clone()

    def _score(self, logits: Tensor, part: StepInputs) -> tuple[Tensor, Tensor]:
        """Its share of the whole batch's."""
        targets = torch.tensor(part.targets, dtype=logits.dtype, device=logits.device)
        mask = logits.new_ones(len(logits)) if self.shared.mask is None else self.shared.mask
        losses = functional.cross_entropy(logits, targets, reduction="none")
        return losses @ mask / self.shared.images, hits(logits, targets).to(mask.dtype) @ mask

    def _reduced(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """The sums over all processes, in one reduction."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        flat = torch.cat([loss.reshape(1), correct.reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        loss, correct, *summed = self.group.summed(flat).split([1, 1, *(gradient.numel() for gradient in gradients)])
        for gradient, total in zip(gradients, summed, strict=True):
            gradient.copy_(total.view(gradient.shape))
        return loss, correct.round()


def _running(norms: list[GroupedBatchNorm2d]) -> list[Tensor]:
    """Running mean and variance of each, one after the other."""
    return [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]


@dataclass
class Shared:
    """What the norms of a model know of the whole batch: its `images`, and the `mask` (rows,) of those that are here.

    `group` has the processes that have the others.
    """

    group: Any
    images: int = 0
    mask: Tensor | None = None

    def counted(self, x: Tensor) -> Tensor:
        """The values that statistics are about: 0 in rows that only fill a shard up."""
        return x if self.mask is None else x * self.mask.view(-1, 1, 1, 1)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """In training, by the statistics of the whole batch, the running variance unbiased.

    It has the same state, so that an existing norm can be converted by changing its class.
    """

    shared: Shared

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:  # frozen, or predicting
            return super().forward(input)
        given = input, self.weight, self.bias, self.eps, self.shared
        output, mean, variance = _Normalize.apply(*given)  # type: ignore[no-untyped-call]
        count = self.shared.images * input[0, 0].numel()
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, self.momentum)  # type: ignore[union-attr,arg-type]
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)  # type: ignore[union-attr,arg-type]
        return output  # type: ignore[no-any-return]


class _Normalize(torch.autograd.Function):
    """(output, mean, biased variance) over the whole batch: each process's mean and squared deviations, put together.

    Chan, Golub and LeVeque 1979: no difference of large numbers, as there is in a mean of squares.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        context: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, shared: Shared
    ) -> tuple[Tensor, Tensor, Tensor]:
        everyone = shared.group.gathered(torch.stack(_moments(x, shared)))
        counts, means, squares = everyone.unbind(1)
        count = shared.images * x[0, 0].numel()
        mean = (counts * means).sum(0) / count
        variance = (squares + counts * (means - mean) ** 2).sum(0) / count
        context.save_for_backward(x, weight, mean, variance)
        context.epsilon, context.shared, context.count = epsilon, shared, count
        context.mark_non_differentiable(mean, variance)
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, epsilon), mean, variance

    @staticmethod
    def backward(context: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, mean, variance = context.saved_tensors
        epsilon, shared = context.epsilon, context.shared
        _, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, variance, None, None, False, epsilon, [False, True, True]
        )
        # Mean and variance are functions of x too: what they would carry away is taken out of the gradient.
        along, across = shared.group.summed(torch.stack([d_weight, d_bias])) / context.count
        scale = weight / torch.sqrt(variance + epsilon)
        slope = scale * along / torch.sqrt(variance + epsilon)
        # scale (dy - across) - slope (x - mean), in three passes over the maps; in two, x without its mean would round.
        carried = x - _channels(mean)
        torch.addcmul(_channels(-scale * across), carried, _channels(-slope), out=carried)
        dx = shared.counted(carried).addcmul_(dy, _channels(scale))
        return dx, d_weight, d_bias, None, None


def _moments(x: Tensor, shared: Shared) -> tuple[Tensor, Tensor, Tensor]:
    """(values, their mean, the sum of their squared deviations) of each channel, (channels,) each, in this process."""
    channels, positions = x.shape[1], x[0, 0].numel()
    if shared.mask is None:  # one pass, as PyTorch's own norm
        mean, variance = torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)
        count = x.new_full((channels,), len(x) * positions)
        return count, mean, variance * count
    count = (shared.mask.sum() * positions).expand(channels)
    mean = shared.counted(x).sum((0, 2, 3)) / count.clamp(min=1)
    return count, mean, (shared.counted(x - _channels(mean)) ** 2).sum((0, 2, 3))


def _channels(values: Tensor) -> Tensor:
    """(channels,) to (1, channels, 1, 1)."""
    return values.view(1, -1, 1, 1)
