"""Training steps in Keras: compile once, then `train_on_batch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np

from resnet_core import tree
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepResult, TrainingState
from resnet_core.training.parameters import frozen_layers, trained_tree, treatments
from resnet_core.training.recipe import Recipe
from resnet_core.weights import require_training_dtype
from resnet_keras.inference import predict, to_native
from resnet_keras.layers import GroupedBatchNormalization
from resnet_keras.model import build_tree
from resnet_keras.normalization import UnbiasedBatchNormalization
from resnet_keras.optimizer import Optimizer
from resnet_keras.pooling import MaxPooling2D
from resnet_keras.weights import get_weights, layers


class Trainer:
    """The contract's trainer on `train_on_batch`; what changes from step to step is input, or in variables."""

    inputs: ClassVar[frozenset[str]] = frozenset({"images", "targets", "numbers", "factors"})
    #: Into how many a step's batch is divided already, one after the other.
    shards = 1

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None:
        dtype = require_training_dtype(dtype or "float32")
        network = trained_tree(spec, recipe, dtype)
        self.model = build_tree(network, channels=spec.in_channels, weights=state.weights, dtype=dtype)
        leaves, frozen = dict(tree.leaves(network)), frozen_layers(spec, recipe)
        self.dropouts: dict[str, GivenDropout] = {}
        for path, layer in layers(self.model):
            layer.trainable = path not in frozen and not isinstance(leaves.get(path), tree.FrozenNorm)
            if isinstance(layer, keras.layers.BatchNormalization):
                # From now on updated with the unbiased variance.
                layer.__class__ = GroupedBatchNormalization if recipe.groups > 1 else UnbiasedBatchNormalization
                layer.rows = recipe.statistics_batch
            if isinstance(layer, keras.layers.MaxPooling2D):
                layer.__class__ = MaxPooling2D
            if isinstance(layer, keras.layers.Dropout):
                layer.__class__ = GivenDropout
                self.dropouts[path] = layer
        self.parts = recipe.accumulate
        self.optimizer = Optimizer(recipe, self.model, state, treatments(spec, recipe))
        self.dtype = dtype
        self.networks: dict[tuple[int, bool], Network] = {}  # see `_network`
        self.steps = state.step

    def step(self, inputs: StepInputs) -> StepResult:
        self.optimizer.prepare(inputs.numbers)
        given = list(inputs.parts(self.parts, self.shards))
        results = [self._part(part, last=number == self.parts) for number, part in enumerate(given, start=1)]
        self.steps += 1
        return StepResult(sum(loss for loss, _ in results) / self.parts, sum(correct for _, correct in results))

    def _part(self, part: StepInputs, *, last: bool) -> tuple[float, int]:
        """(loss, correct) of a part of the batch; the optimizer updates after the last."""
        self.optimizer.updates = last
        given = {"images": to_native(self.model, part.images, training=True), **part.factors}
        native = {name: np.asarray(array, self.dtype) for name, array in given.items()}
        loss, accuracy = self._network(len(part.targets), last).train_on_batch(native, part.targets.astype(self.dtype))
        return float(loss), round(float(accuracy) * len(part.targets))

    def _network(self, *key: Any) -> Network:
        """One for each batch size, and for parts that update or do not, since each has one compiled function.

        Otherwise TensorFlow would compile the first size for itself and the second for any size, which rounds
        differently: the bits would depend on which came first, as after resuming. And JAX would take what it has traced
        for a part that does not update for one that does.
        """
        if key not in self.networks:
            self.networks[key] = network = Network(self.model, self.dropouts)
            network.compile(
                optimizer=self.optimizer,
                loss=keras.losses.CategoricalCrossentropy(from_logits=True, dtype=self.dtype),
                metrics=[keras.metrics.CategoricalAccuracy(dtype=self.dtype)],
                # XLA makes TensorFlow's step slower on a CPU (ResNet-20: 0.33 s versus 0.26); JAX always uses it.
                jit_compile=keras.backend.backend() == "jax",
            )
        return self.networks[key]

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(predict(self._current(), images))

    def state(self) -> TrainingState:
        return TrainingState(get_weights(self._current()), self.optimizer.get_slots(), self.steps)

    def _current(self) -> keras.Model:
        """The model, with what was learned in its variables."""
        return self.model


class Network(keras.Model):
    """The model as a function of its images and of the factors by which its dropouts multiply."""

    def __init__(self, model: keras.Model, dropouts: dict[str, GivenDropout]) -> None:
        super().__init__(dtype=model.dtype_policy)
        self.model = model
        object.__setattr__(self, "dropouts", dropouts)  # Keras would track and rename them

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        give(self.dropouts, inputs)
        try:
            return self.model(inputs["images"], training=training)
        finally:
            give(self.dropouts, {})


class GivenDropout(keras.layers.Dropout):
    """Keras' dropout, but in training it multiplies by factors that it is given; without any, everything passes.

    It has the same state, so an existing dropout can be converted by changing its class.
    """

    factors: Any = None

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.factors is None:
            return inputs
        shape = keras.ops.shape(inputs) if self.noise_shape is None else (-1, *self.noise_shape[1:])
        return inputs * keras.ops.reshape(self.factors, shape)


def give(dropouts: Mapping[str, GivenDropout], factors: Mapping[str, Any]) -> None:
    """Let each dropout multiply by its factors from now on, or let everything pass where it has none."""
    for path, layer in dropouts.items():
        object.__setattr__(layer, "factors", factors.get(path))
