"""What the NumPy worker is asked in the training tests: directional derivatives of its forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import resnet_core as rn
import resnet_numpy
from resnet_core.spec_files import from_json
from resnet_core.training.recipe_files import recipe
from resnet_core.workers.child import Arrays

#: Step of the central difference: rounding costs 1e-16 / 1e-6, curvature 1e-12.
STEP = 1e-6


def directional_derivatives(session: Any, arrays: Arrays, *, spec: str) -> tuple[None, Arrays]:
    """{parameter: d/dh sum(output * cotangent) along `direction.PARAMETER`}, training mode, float64."""
    resolved = from_json(spec)
    weights = {name: arrays[f"weight.{name}"] for name in rn.state(resolved)}
    model = resnet_numpy.build(resolved, weights=weights, dtype="float64")

    def value(name: str, step: float) -> float:
        # Only the running statistics learn in a training pass, and training mode does not read them.
        model.weights[name] = weights[name] + step * arrays[f"direction.{name}"]
        output = model(arrays["images"], training=True)
        model.weights[name] = weights[name]
        return float((output * arrays["cotangent"]).sum())

    return None, {
        name: np.array((value(name, STEP) - value(name, -STEP)) / (2 * STEP)) for name in rn.parameters(resolved)
    }


def inference_gradients(session: Any, arrays: Any, *, planted: bool) -> tuple[None, None]:
    """A planted defect: gradients that take the batch statistics for constants (PyTorch's worker)."""
    from torch import nn

    forward = nn.functional.batch_norm

    def detached(
        x: Any, mean: Any, variance: Any, weight: Any, bias: Any, training: bool, *rest: Any, **named: Any
    ) -> Any:
        if training:
            mean, variance = x.detach().mean((0, 2, 3)), x.detach().var((0, 2, 3), correction=0)
        return forward(x, mean, variance, weight, bias, False, *rest, **named)

    if planted:
        session.original = forward
        nn.functional.batch_norm = detached
    else:
        nn.functional.batch_norm = session.original
    return None, None


def plant(session: Any, arrays: Any, *, name: str | None) -> tuple[None, None]:
    """Let the worker train with a defect from now on, or with None rightly again."""
    for module, attribute, original in getattr(session, "planted", []):
        setattr(module, attribute, original)
    session.planted = []
    if name is not None:
        module, attribute, wrong = DEFECTS[name](session)
        session.planted = [(module, attribute, getattr(module, attribute))]
        setattr(module, attribute, wrong)
    return None, None


def _recipe_defect(**changes: Any) -> Callable[[Any], tuple[Any, str, Any]]:
    """The worker trains by another recipe than it was told."""

    def planted(session: Any) -> tuple[Any, str, Any]:
        from resnet_core.workers import tasks

        read = tasks.recipe_from_json
        return tasks, "recipe_from_json", lambda text: recipe(read(text), **changes)

    return planted


def _late_schedule(session: Any) -> tuple[Any, str, Any]:
    from resnet_core.workers import tasks

    numbers = tasks.step_numbers
    return tasks, "step_numbers", lambda plan, per_epoch, step: numbers(plan, per_epoch, max(0, step - 1))


def _rate_inside_the_buffer(session: Any) -> tuple[Any, str, Any]:
    """Keras' own SGD: v = momentum * v + rate * gradient; w = w - v."""
    import torch

    from resnet_torch.optimizer import Optimizer

    def update(self: Any, numbers: Any) -> None:
        for group in self.native.param_groups:
            for parameter in group["params"]:
                with torch.no_grad():
                    parameter.grad += group["weight_decay"] * parameter
                    parameter.grad *= numbers.learning_rate
            group["lr"], group["weight_decay"] = 1.0, 0.0
        self.native.step()

    return Optimizer, "update", update


def _decoupled_decay(session: Any) -> tuple[Any, str, Any]:
    """Keras' weight_decay of SGD: the weight shrinks by itself, outside the momentum."""
    import torch

    from resnet_torch.optimizer import Optimizer

    def update(self: Any, numbers: Any) -> None:
        for group in self.native.param_groups:
            with torch.no_grad():
                for parameter in group["params"]:
                    parameter *= 1 - numbers.learning_rate * self.recipe.weight_decay
            group["lr"], group["weight_decay"] = numbers.learning_rate, 0.0
        self.native.step()

    return Optimizer, "update", update


def _kingmas_epsilon(session: Any) -> tuple[Any, str, Any]:
    """Keras' Adam: epsilon is added to the uncorrected root."""
    from resnet_torch.optimizer import Optimizer

    def update(self: Any, numbers: Any) -> None:
        for group in self.native.param_groups:
            group["lr"], group["eps"] = numbers.learning_rate, self.recipe.epsilon / numbers.correction2
        self.native.step()

    return Optimizer, "update", update


def _biased_variance(session: Any) -> tuple[Any, str, Any]:
    from resnet_flax import trainer

    return trainer, "variance_corrections", lambda *given: {}


def _variance_of_all_groups(session: Any) -> tuple[Any, str, Any]:
    """The running variance is unbiased by the values of all groups together."""
    from resnet_flax import trainer

    right = trainer.variance_corrections

    def corrections(spec: Any, shape: Any, frozen: Any, groups: int) -> Any:
        return right(spec, (shape[0] * groups, *shape[1:]), frozen, groups)

    return trainer, "variance_corrections", corrections


def _keras_biased_variance(session: Any) -> tuple[Any, str, Any]:
    import keras

    from resnet_keras import trainer

    return trainer, "UnbiasedBatchNormalization", keras.layers.BatchNormalization


def _summed_loss(session: Any) -> tuple[Any, str, Any]:
    from resnet_torch import trainer

    original = trainer.cross_entropy
    return trainer, "cross_entropy", lambda *given, **named: original(*given, reduction="sum", **named)


def _summed_parts(session: Any) -> tuple[Any, str, Any]:
    """The gradients of two parts are added up, and their mean is not taken."""
    from resnet_torch import trainer

    original = trainer.cross_entropy
    return trainer, "cross_entropy", lambda *given: 2 * original(*given)


def _keras_clipping(session: Any) -> tuple[Any, str, Any]:
    """Keras clips every gradient to the norm by itself (`clipnorm`)."""
    import keras

    from resnet_keras.optimizer import Optimizer

    def apply(self: Any, gradients: Any, variables: Any = None) -> None:
        norms = [keras.ops.sqrt(keras.ops.sum(gradient * gradient)) for gradient in gradients]
        clipped = [g * keras.ops.minimum(1.0, self.recipe.clip_norm / n) for g, n in zip(gradients, norms, strict=True)]
        keras.optimizers.Optimizer.apply(self, clipped, variables)

    return Optimizer, "apply", apply


def _norms_by_the_batch(session: Any) -> tuple[Any, str, Any]:
    """Only parameters are frozen: what `requires_grad_(False)` alone does."""
    from torch import nn

    return nn.BatchNorm2d, "eval", lambda module: module


def _learning_norms(session: Any) -> tuple[Any, str, Any]:
    """A frozen norm normalizes by its statistics, which go on learning."""
    from torch import nn
    from torch.nn.functional import batch_norm

    def learning(module: Any, x: Any) -> Any:
        batch_norm(x, module.running_mean, module.running_var, None, None, True, module.momentum)
        return batch_norm(
            x, module.running_mean, module.running_var, module.weight, module.bias, False, 0.0, module.eps
        )

    def evaluation(module: Any) -> Any:
        module.forward = partial(learning, module)
        return module

    return nn.BatchNorm2d, "eval", evaluation


def _spared_decay(session: Any) -> tuple[Any, str, Any]:
    """The decay of AdamW goes by the step's learning rate, not by the part's."""
    from resnet_torch.optimizer import Optimizer

    def update(self: Any, numbers: Any) -> None:
        for group, rate in zip(self.native.param_groups, self.rates, strict=True):
            group["lr"] = numbers.learning_rate * rate
            group["weight_decay"] = self.recipe.weight_decay / rate
        self.native.step()

    return Optimizer, "update", update


def _late_factors(session: Any) -> tuple[Any, str, Any]:
    from resnet_core.workers import tasks

    right = tasks.step_inputs
    return tasks, "step_inputs", lambda spec, seed, step, *rest: right(spec, seed, step + 1, *rest)


def _nothing_dropped(session: Any) -> tuple[Any, str, Any]:
    from resnet_core.workers import tasks

    right = tasks.step_inputs
    return tasks, "step_inputs", lambda *given: replace(right(*given), factors={})


DEFECTS: dict[str, Callable[[Any], tuple[Any, str, Any]]] = {
    "decoupled decay": _decoupled_decay,
    "rate inside the buffer": _rate_inside_the_buffer,
    "Kingma's epsilon": _kingmas_epsilon,
    "biased variance": _biased_variance,
    "a variance of all groups": _variance_of_all_groups,
    "Keras' biased variance": _keras_biased_variance,
    "complement of the momentum": _recipe_defect(momentum=0.1),
    "no Nesterov": _recipe_defect(nesterov=False),
    "no label smoothing": _recipe_defect(label_smoothing=0.0),
    "AdamW for Adam": _recipe_defect(optimizer="adamw"),
    "schedule off by one step": _late_schedule,
    "summed loss": _summed_loss,
    "a batch in one piece": _recipe_defect(accumulate=1),
    "summed parts": _summed_parts,
    "nothing clipped": _recipe_defect(clip_norm=None),
    "Keras' clipping": _keras_clipping,
    "nothing frozen": _recipe_defect(freeze=()),
    "frozen norms normalize by the batch": _norms_by_the_batch,
    "frozen norms learn": _learning_norms,
    "factors of the next step": _late_factors,
    "nothing is dropped": _nothing_dropped,
    "equal rates": _recipe_defect(rates=()),
    "a rate that spares the decay": _spared_decay,
}
