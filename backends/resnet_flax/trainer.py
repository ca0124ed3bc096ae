"""Training steps in Flax: a pure function of flat arrays, compiled together with its optimizer."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, StepNumbers, StepResult, TrainingState
from resnet_core.training.parameters import frozen_layers, trained_tree, treatments
from resnet_core.training.recipe import Recipe
from resnet_core.training.running_variance import variance_corrections
from resnet_core.weights import require_training_dtype
from resnet_flax.inference import predict, to_native
from resnet_flax.layers import GroupedBatchNorm
from resnet_flax.model import build_tree
from resnet_flax.normalization import BatchNorm
from resnet_flax.optimizer import Arrays, Optimizer
from resnet_flax.runtime import precision
from resnet_flax.weights import neutral_name, to_neutral, variables

jax.tree_util.register_dataclass(
    StepNumbers, data_fields=["learning_rate", "correction1", "correction2"], meta_fields=[]
)

#: Images, targets, factors of random layers, and which rows are the batch's where others fill it up.
Batch = tuple[Array, Array, Arrays, Array | None]


class Trainer:
    """The contract's trainer as a compiled function; its arrays are kept flat, by neutral name."""

    inputs: ClassVar[frozenset[str]] = frozenset({"images", "targets", "numbers", "factors"})

    def __init__(self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None) -> None:
        dtype = require_training_dtype(dtype or "float32")
        self.spec, self.dtype = spec, dtype
        with precision(dtype):
            network = trained_tree(spec, recipe, dtype)
            self.model = build_tree(network, channels=spec.in_channels, weights=state.weights, dtype=dtype)
            for _, module in nnx.iter_graph(self.model) if recipe.groups > 1 else ():
                if isinstance(module, BatchNorm):
                    module.__class__ = GroupedBatchNorm
                    module.rows = recipe.statistics_batch
            # Plain dictionaries of arrays, which JAX passes to a compiled step faster than NNX states.
            self.graph, parameters, statistics, self.rest = nnx.split(self.model, nnx.Param, nnx.BatchStat, ...)
            self.parameters, self.statistics = _arrays(parameters), _arrays(statistics)
            self.frozen = frozen_layers(spec, recipe)
            self.optimizer = Optimizer(recipe, self.parameters, state, treatments(spec, recipe))
        self.parts, self.groups = recipe.accumulate, recipe.groups
        self.templates = {"parameters": parameters, "statistics": statistics}
        self.steps = state.step

    def step(self, inputs: StepInputs) -> StepResult:
        with precision(self.dtype):
            self.parameters, self.statistics, self.optimizer.memory, loss, correct = self._step(
                self.parameters,
                self.statistics,
                self.optimizer.memory,
                self._batch(inputs),
                inputs.numbers,
                inputs.whole or len(inputs.images),
            )
            self.steps += 1
            return StepResult(float(loss), int(correct))

    def predict(self, images: np.ndarray) -> np.ndarray:
        values = self._values()
        for name, variable in variables(self.model):
            if variable.get_value() is not values[name]:
                variable.set_value(values[name])
        return np.asarray(predict(self.model, images))

    def state(self) -> TrainingState:
        values = self._values()
        weights = {name: to_neutral(values[name]) for name, _ in variables(self.model)}
        return TrainingState(weights, self.optimizer.get_slots(), self.steps)

    def _values(self) -> Arrays:
        return {**self.parameters, **self.statistics}

    def _batch(self, inputs: StepInputs) -> Batch:
        images = to_native(self.model, inputs.images, training=True)
        factors = {path: jnp.asarray(given, self.dtype) for path, given in inputs.factors.items()}
        return images, jnp.asarray(inputs.targets, self.dtype), factors, None

    def _cut(self, batch: Batch) -> Batch:
        """The parts along a first axis."""
        return jax.tree.map(lambda whole: whole.reshape(self.parts, -1, *whole.shape[1:]), batch)  # type: ignore[no-any-return]

    @partial(jax.jit, static_argnums=(0, 6), donate_argnums=(1, 2, 3))
    def _step(
        self, parameters: Arrays, statistics: Arrays, memory: Any, batch: Batch, numbers: StepNumbers, count: int
    ) -> tuple[Arrays, Arrays, Any, Array, Array]:
        """`count` is the batch's, without what fills it up."""
        trained = {name: parameters[name] for name in self.optimizer.treatments}

        def part(carried: tuple[Arrays, Arrays], given: Batch) -> tuple[tuple[Arrays, Arrays], Any]:
            statistics, sums = carried
            gradients, statistics, loss, correct = self._gradients(
                parameters, trained, statistics, given, count // self.parts
            )
            return (statistics, jax.tree.map(jnp.add, sums, gradients)), (loss, correct)

        if self.parts == 1:
            gradients, statistics, loss, correct = self._gradients(parameters, trained, statistics, batch, count)
        else:  # a scan: one part is in memory at a time
            zeros = jax.tree.map(jnp.zeros_like, trained)
            (statistics, sums), (losses, counts) = jax.lax.scan(part, (statistics, zeros), self._cut(batch))
            gradients = {name: value / self.parts for name, value in sums.items()}
            loss, correct = losses.mean(), counts.sum()
        trained, memory = self.optimizer.update(gradients, memory, trained, numbers)
        return {**parameters, **trained}, statistics, memory, loss, correct

    def _gradients(
        self, parameters: Arrays, trained: Arrays, statistics: Arrays, batch: Batch, count: int
    ) -> tuple[Arrays, Arrays, Array, Array]:
        """(gradients, statistics afterwards, loss, correct) of a batch of `count` or a part of one."""
        images, _, factors, _ = batch

        def loss_of(trained: Arrays) -> tuple[Array, tuple[Array, Arrays]]:
            values = {**parameters, **trained}
            states = _state(self.templates["parameters"], values), _state(self.templates["statistics"], statistics)
            model = nnx.merge(self.graph, *states, self.rest, copy=True)
            evaluating = nnx.view(model, use_running_average=True, deterministic=True, raise_if_not_found=False)
            learning = nnx.view(evaluating, only=self._learns, use_running_average=False, raise_if_not_found=False)
            _multiply(learning, factors)
            loss, correct = self._score(learning(images), batch, count)
            return loss, (correct, _arrays(nnx.state(model, nnx.BatchStat)))

        (loss, (correct, after)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        corrections = variance_corrections(self.spec, (count, *images.shape[1:]), self.frozen, self.groups)
        for name, (decay, factor) in corrections.items():  # Flax's update is biased
            kept = decay * statistics[name]
            after[name] = kept + (after[name] - kept) * factor
        return gradients, after, loss, correct

    def _score(self, logits: Array, batch: Batch, count: int) -> tuple[Array, Array]:
        """(mean loss, correct images)."""
        targets = batch[1]
        return optax.softmax_cross_entropy(logits, targets).mean(), hits(logits, targets).sum()

    def _learns(self, path: tuple[Any, ...], module: Any) -> bool:
        """Whether a module is in training mode: NNX views those that are not frozen."""
        return ".".join(map(str, path)) not in self.frozen


def hits(logits: Array, targets: Array) -> Array:
    """(batch,): whether the largest logit of an image is at the class of its largest target."""
    return logits.argmax(-1) == targets.argmax(-1)


def _arrays(state: nnx.State) -> Arrays:
    """{neutral name: array} of a state."""
    return {neutral_name(path): variable.get_value() for path, variable in nnx.to_flat_state(state)}


def _state(template: nnx.State, arrays: Arrays) -> nnx.State:
    """The state `template` with other values."""
    return nnx.from_flat_state(
        [(path, variable.replace(arrays[neutral_name(path)])) for path, variable in nnx.to_flat_state(template)]
    )


def _multiply(model: nnx.Module, factors: Arrays) -> None:
    """Puts a multiplication by its factors in each random layer's place."""
    for path, given in factors.items():
        *parents, name = path.split(".")
        setattr(reduce(getattr, parents, model), name, partial(_times, given))


def _times(factors: Array, x: Array) -> Array:
    return x * factors.reshape(factors.shape + (1,) * (x.ndim - factors.ndim))
