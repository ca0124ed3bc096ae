"""Training steps in PyTorch: forward, loss, backward, optimizer."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepResult, TrainingState
from resnet_core.training.recipe import Recipe, decayed_parameters
from resnet_core.training.schedule import StepNumbers
from resnet_torch.inference import predict, to_native
from resnet_torch.model import build
from resnet_torch.optimizer import Optimizer
from resnet_torch.weights import get_weights


class Trainer:
    """A network and its optimizer, ready for the step after `state.step`."""

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str = "float32") -> None:
        self.recipe = recipe
        self.model = build(spec, weights=state.weights, dtype=dtype).train()
        self.optimizer = Optimizer(recipe, self.model, state, decayed_parameters(spec, recipe))
        self.steps = state.step

    def step(self, images: np.ndarray, labels: np.ndarray, numbers: StepNumbers) -> StepResult:
        """One update from images (batch, height, width, channels) and their classes (batch,)."""
        native = to_native(self.model, images)
        classes = torch.from_numpy(labels).to(native.device)
        logits = self.model(native)
        loss = cross_entropy(logits, classes, label_smoothing=self.recipe.label_smoothing)
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.update(numbers)
        self.steps += 1
        return StepResult(loss.item(), int((logits.detach().argmax(1) == classes).sum()))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode."""
        return np.asarray(predict(self.model, images))

    def state(self) -> TrainingState:
        """Weights, optimizer slots and step count, as copies, in neutral layout."""
        return TrainingState(get_weights(self.model), self.optimizer.get_slots(), self.steps)
