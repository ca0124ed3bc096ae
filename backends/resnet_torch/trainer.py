"""Training steps in PyTorch: forward, loss, backward, optimizer."""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.parameters import frozen_layers, trained_tree, treatments
from resnet_core.training.recipe import Recipe
from resnet_core.weights import require_training_dtype
from resnet_torch.differentiation import dropping
from resnet_torch.inference import predict, to_native
from resnet_torch.layers import GroupedBatchNorm2d
from resnet_torch.model import build_tree
from resnet_torch.optimizer import Optimizer
from resnet_torch.weights import get_weights

#: oneDNN convolves feature maps whose channels are neighbors in memory without reordering them: a step of ResNet-50, 16
#: images, on two cores of an Intel Xeon (Ice Lake) takes 2.5 s, otherwise 3.2; ResNet-18, 8 images, 0.45 and 0.67.
CPU_FORMAT = torch.channels_last


class Trainer:
    """The contract's trainer on `torch.optim`; its model stays in training mode between steps.

    On a CPU the model and its images have channels last in memory. PyTorch's norms then round more (1e-6 of their
    output in float32, not 1e-7), far below what a step's gradients are held to.
    """

    inputs: ClassVar[frozenset[str]] = frozenset({"images", "targets", "numbers", "factors"})

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None:
        dtype = require_training_dtype(dtype or "float32")
        network = trained_tree(spec, recipe, dtype)
        self.model = build_tree(network, channels=spec.in_channels, weights=state.weights, dtype=dtype).train()
        on_cpu = next(self.model.parameters()).device.type == "cpu"
        self.format = CPU_FORMAT if on_cpu else torch.contiguous_format
        self.model.to(memory_format=self.format)  # type: ignore[call-overload]
        for path in frozen_layers(spec, recipe):
            self.model.get_submodule(path).eval().requires_grad_(False)
        for module in self.model.modules() if recipe.groups > 1 else ():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = GroupedBatchNorm2d
                module.rows = recipe.statistics_batch  # type: ignore[assignment]
        self.parts = recipe.accumulate
        self.optimizer = Optimizer(recipe, self.model, state, treatments(spec, recipe))
        self.steps = state.step

    def step(self, inputs: StepInputs) -> StepResult:
        self.model.zero_grad(set_to_none=True)
        losses, correct = [], []
        for part in inputs.parts(self.parts):
            logits = self._forward(part)
            loss, right = self._score(logits, part)
            loss = loss / self.parts
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            correct.append(right)
        loss, right = self._reduced(sum(losses[1:], losses[0]), sum(correct[1:], correct[0]))
        self.optimizer.update(inputs.numbers)
        self.steps += 1
        return StepResult(float(loss), int(right))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self.model, images))

    def state(self) -> TrainingState:
        return TrainingState(get_weights(self.model), self.optimizer.get_slots(), self.steps)

    def _forward(self, part: StepInputs) -> Tensor:
        with dropping(self.model, part.factors):
            images = to_native(self.model, part.images, training=True)
            return cast(Tensor, self.model(images.to(memory_format=self.format)))

    def _score(self, logits: Tensor, part: StepInputs) -> tuple[Tensor, Tensor]:
        """(mean loss, correct images)."""
        targets = torch.tensor(part.targets, dtype=logits.dtype, device=logits.device)
        return cross_entropy(logits, targets), hits(logits, targets).sum()

    def _reduced(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """The same, of a whole batch; and its gradients are the parameters'."""
        return loss, correct


def hits(logits: Tensor, targets: Tensor) -> Tensor:
    """(batch,): whether the largest logit of an image is at the class of its largest target."""
    return logits.detach().argmax(1) == targets.argmax(1)
