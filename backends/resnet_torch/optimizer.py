"""The optimizers: torch.optim already has the neutral formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from resnet_core.training.contract import StepNumbers, TrainingState
from resnet_core.training.parameters import Treatment
from resnet_core.training.recipe import Recipe
from resnet_core.weights import Weights

# The neutral slots, as PyTorch names them.
SLOTS = {"momentum": "momentum_buffer", "moment1": "exp_avg", "moment2": "exp_avg_sq"}


class Optimizer:
    """SGD with momentum, Adam or AdamW, according to the recipe, over the parameters that are trained."""

    def __init__(
        self, recipe: Recipe, model: nn.Module, state: TrainingState, treatments: dict[str, Treatment]
    ) -> None:
        self.recipe, self.parameters = recipe, {name: model.get_parameter(name) for name in treatments}
        groups: dict[Treatment, list[nn.Parameter]] = {}
        for name, treatment in treatments.items():
            groups.setdefault(treatment, []).append(self.parameters[name])
        self.rates = [treatment.rate for treatment in groups]
        self.native = _native(
            recipe, [{"params": own, "weight_decay": treatment.decay} for treatment, own in groups.items()]
        )
        if state.slots:
            self._restore(state)

    def update(self, numbers: StepNumbers) -> None:
        """Move the parameters along their gradients. PyTorch counts the steps for Adam's corrections itself."""
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.clip_norm)
        for group, rate in zip(self.native.param_groups, self.rates, strict=True):
            group["lr"] = numbers.learning_rate * rate
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
                own = torch.empty_like(parameter)  # it lies in memory as the parameter does
                own.copy_(torch.from_numpy(np.asarray(state.slots[slot][name])))
                self.native.state[parameter][SLOTS[slot]] = own
            if self.recipe.optimizer != "sgd":
                self.native.state[parameter]["step"] = torch.tensor(float(state.step), device="cpu")


def _native(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, dampening=0.0, nesterov=recipe.nesterov
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, amsgrad=False)
