"""Training steps in Keras: compile once, then `train_on_batch`."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np

from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.parameters import frozen_layers, treatments
from resnet_core.training.recipe import Recipe
from resnet_core.weights import require_training_dtype
from resnet_keras.inference import predict, to_native
from resnet_keras.model import build
from resnet_keras.optimizer import Optimizer
from resnet_keras.weights import get_weights, layers


class Trainer:
    """The contract's trainer on `train_on_batch`; whatever changes from step to step is in variables."""

    inputs: ClassVar[frozenset[str]] = frozenset({"images", "targets", "numbers"})

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None:
        dtype = require_training_dtype(dtype or "float32")
        self.model = build(spec, weights=state.weights, dtype=dtype)
        frozen = frozen_layers(spec, recipe)
        for path, layer in layers(self.model):
            layer.trainable = path not in frozen
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.__class__ = UnbiasedBatchNormalization  # from now on updated with the unbiased variance
        self.parts = recipe.accumulate
        self.optimizer = Optimizer(recipe, self.model, state, treatments(spec, recipe))
        self.dtype = dtype
        self.model.compile(
            optimizer=self.optimizer,
            loss=keras.losses.CategoricalCrossentropy(from_logits=True, dtype=dtype),
            metrics=[keras.metrics.CategoricalAccuracy(dtype=dtype)],
            # XLA makes TensorFlow's step slower on a CPU (ResNet-20: 0.33 s versus 0.26); JAX always uses it.
            jit_compile=keras.backend.backend() == "jax",
        )
        self.functions: dict[tuple[int, bool], Any] = {}  # see `_part`
        self.steps = state.step

    def step(self, inputs: StepInputs) -> StepResult:
        self.optimizer.prepare(inputs.numbers)
        given = list(inputs.parts(self.parts))
        results = [self._part(*part, last=number == self.parts) for number, part in enumerate(given, start=1)]
        self.steps += 1
        return StepResult(sum(loss for loss, _ in results) / self.parts, sum(correct for _, correct in results))

    def _part(self, images: np.ndarray, targets: np.ndarray, *, last: bool) -> tuple[float, int]:
        """(loss, correct) of a part of the batch; the optimizer updates after the last."""
        # One compiled function per batch size. Otherwise TensorFlow would compile the first size for itself and the
        # second for any size, which rounds differently: the bits would depend on which came first, as after resuming.
        key = len(targets), last
        self.model.train_function, self.optimizer.updates = self.functions.get(key), last
        native = to_native(self.model, images, training=True)
        loss, accuracy = self.model.train_on_batch(native, targets.astype(self.dtype))
        self.functions[key] = self.model.train_function
        return float(loss), round(float(accuracy) * len(targets))

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self.model, images))

    def state(self) -> TrainingState:
        return TrainingState(get_weights(self.model), self.optimizer.get_slots(), self.steps)


class UnbiasedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' norm, but its running variance is updated with n / (n - 1) times the batch variance, as in PyTorch.

    It has the same state, so an existing norm can be converted by changing its class.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        kept = self.momentum * self.moving_variance.value
        outputs = super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            batch, height, width, _ = keras.ops.shape(inputs)
            count = keras.ops.cast(batch * height * width, kept.dtype)
            self.moving_variance.assign(kept + (self.moving_variance.value - kept) * (count / (count - 1)))
        return outputs
