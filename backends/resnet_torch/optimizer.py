"""The optimizers: torch.optim already has the neutral formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from resnet_core.training.contract import StepNumbers, TrainingState
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights

# The neutral slots, as PyTorch names them.
SLOTS = {"momentum": "momentum_buffer", "moment1": "exp_avg", "moment2": "exp_avg_sq"}


class Optimizer:
    """SGD with momentum, Adam or AdamW, according to the recipe, over the model's parameters."""

    def __init__(self, recipe: Recipe, model: nn.Module, state: TrainingState, decayed: set[str]) -> None:
        self.recipe, self.parameters = recipe, dict(model.named_parameters())
        groups = [
            {"params": [p for name, p in self.parameters.items() if (name in decayed) == wanted], "weight_decay": value}
            for wanted, value in ((True, recipe.weight_decay), (False, 0.0))
        ]
        self.native = _native(recipe, [group for group in groups if group["params"]])
        if state.slots:
            self._restore(state)

    def update(self, numbers: StepNumbers) -> None:
        """Move the parameters along their gradients. PyTorch counts the steps for Adam's corrections itself."""
        for group in self.native.param_groups:
            group["lr"] = numbers.learning_rate
        self.native.step()

    def get_slots(self) -> dict[str, Weights]:
        """{slot: {parameter: array}}, as copies; empty before the first step."""
        if not self.native.state:
            return {}
        return {
            slot: {
                name: self.native.state[parameter][SLOTS[slot]].cpu().numpy().copy()
                for name, parameter in self.parameters.items()
            }
            for slot in self.recipe.slots
        }

    def _restore(self, state: TrainingState) -> None:
        for name, parameter in self.parameters.items():
            for slot in self.recipe.slots:
                array = np.array(state.slots[slot][name])  # a copy: PyTorch updates it in place
                self.native.state[parameter][SLOTS[slot]] = torch.from_numpy(array).to(parameter)
            if self.recipe.optimizer != "sgd":
                self.native.state[parameter]["step"] = torch.tensor(float(state.step), device="cpu")


def _native(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, dampening=0.0, nesterov=recipe.nesterov
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, amsgrad=False)
