"""One of several that train one network: Keras on JAX, with its stateless functions compiled over a mesh.

Particular to Keras: of its engines only JAX computes one batch whose rows are in several processes. With
`keras.distribution`, all processes would compare each value that a variable is given, some ten of them in a step. So
the step is compiled here as Keras describes it for loops of one's own, from `stateless_call` and `stateless_apply`, and
the model's variables get what came of it when somebody asks. All shards have the same number of rows: which of them
only fill up goes along, to the norms and the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from resnet_core.errors import InputError
from resnet_core.specification import ResNetSpec
from resnet_core.training.contract import StepInputs, TrainingState
from resnet_core.training.parallel.jax_processes import JaxProcesses, joined
from resnet_core.training.parallel.place import Place
from resnet_core.training.recipe import Recipe
from resnet_keras import ONE_PROCESS
from resnet_keras.inference import to_native
from resnet_keras.normalization import UnbiasedBatchNormalization
from resnet_keras.trainer import Trainer, give
from resnet_keras.weights import layers

Values = tuple[list[Any], list[Any], list[Any]]  #: of the variables that are trained, the others, and the optimizer's


def join(place: Place, device: str) -> JaxProcesses:
    """By `jax.distributed`, where Keras computes with JAX."""
    if keras.backend.backend() != "jax":
        raise InputError(f"processes: {ONE_PROCESS}")
    import jax
    import jax.experimental.multihost_utils
    import jax.extend.backend

    keras.backend.clear_session()  # it keeps arrays, which are given up with the devices
    return joined(jax, place, device)


class ParallelTrainer(Trainer):
    """The contract's; a batch norm of its model is one over the rows that are the batch's."""

    inputs: ClassVar[frozenset[str]] = Trainer.inputs | {"whole", "mask"}
    equal: ClassVar[bool] = True
    grouped: ClassVar[bool] = True
    devices: ClassVar[bool] = True

    def __init__(
        self, spec: ResNetSpec, recipe: Recipe, state: TrainingState, *, dtype: str | None = None, group: Any
    ) -> None:
        super().__init__(spec, recipe, state, dtype=dtype)
        self.group, self.shared, self.shards = group, Shared(), group.here
        for _, layer in layers(self.model):
            if type(layer) is UnbiasedBatchNormalization:  # one that takes groups needs nobody else
                layer.__class__ = SharedBatchNormalization
                object.__setattr__(layer, "shared", self.shared)  # Keras would track it
        found = ([variable.value for variable in variables] for variables in self._variables())
        self.values: Values = group.jax.tree.map(group.shared, tuple(found))
        self.behind = False  # whether the model's variables are
        self.compiled = group.jax.jit(self._update, static_argnames="last", donate_argnums=0)

    def _part(self, part: StepInputs, *, last: bool) -> tuple[float, int]:
        images = to_native(self.model, part.images)  # one image alone may be fine: there are others
        mask = np.ones(len(images)) if part.mask is None else part.mask
        given = {"images": images, "targets": part.targets, "mask": mask}
        rows, factors = (
            {name: self.group.rows(np.asarray(array, self.dtype)) for name, array in arrays.items()}
            for arrays in (given, part.factors)
        )
        prepared = [self.group.shared(variable.value) for variable in self._prepared()]
        self.values, loss, correct = self.compiled(self.values, prepared, rows, factors, last=last)
        self.behind = True
        return float(loss), int(correct)

    def _current(self) -> keras.Model:
        if self.behind:
            for variables, values in zip(self._variables(), self.values, strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(np.array(value))  # a copy: the next step takes these arrays
        self.behind = False
        return self.model

    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        return self.model.trainable_variables, self.model.non_trainable_variables, self.optimizer.variables

    def _prepared(self) -> list[Any]:
        """The variables that change from step to step, and are in this process alone."""
        return [self.optimizer.learning_rate, self.optimizer.correction1, self.optimizer.correction2]

    def _update(
        self, values: Values, prepared: list[Any], rows: dict[str, Any], factors: dict[str, Any], *, last: bool
    ) -> tuple[Values, Any, Any]:
        """(values afterwards, loss, correct) of a part of the batch, of all processes, alike everywhere."""
        jax = self.group.jax
        trained, others, own = values
        self.optimizer.updates, self.shared.mask = last, rows["mask"]
        give(self.dropouts, factors)

        def loss_of(trained: list[Any]) -> tuple[Any, Any]:
            logits, after = self.model.stateless_call(trained, others, rows["images"], training=True)
            loss, correct = self._score(logits, rows["targets"], rows["mask"])
            return loss, (after, correct)

        (loss, (others, correct)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        now = {id(variable): value for variable, value in zip(self._prepared(), prepared, strict=True)}
        known = zip(self.optimizer.variables, own, strict=True)
        memory = [now.get(id(variable), value) for variable, value in known]
        trained, memory = self.optimizer.stateless_apply(memory, gradients, trained)
        self.shared.mask = None
        give(self.dropouts, {})
        return jax.lax.with_sharding_constraint(((trained, others, memory), loss, correct), self.group.everywhere)

    def _score(self, logits: Any, targets: Any, mask: Any) -> tuple[Any, Any]:
        """(mean loss, correct images) of the whole batch, without what fills it up."""
        ops = keras.ops
        losses = ops.categorical_crossentropy(targets, logits, from_logits=True)
        hits = ops.argmax(logits, -1) == ops.argmax(targets, -1)
        return ops.sum(losses * mask) / ops.sum(mask), ops.sum(hits * mask)


@dataclass
class Shared:
    """What the norms of a model know of the whole batch: the `mask` (rows,) of those that only fill it up."""

    mask: Any = None


class SharedBatchNormalization(UnbiasedBatchNormalization):
    """In training, by the statistics of the rows that are the batch's (Keras' own adds an epsilon to their number).

    It has the same state, so an existing norm can be converted by changing its class.
    """

    shared: Shared

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not (training and self.trainable) or self.shared.mask is None:
            return super().call(inputs, training=training, mask=mask)
        ops = keras.ops
        rows = ops.reshape(self.shared.mask, (-1, 1, 1, 1))
        count = ops.sum(rows) * (inputs.shape[1] * inputs.shape[2])
        mean = ops.sum(inputs * rows, (0, 1, 2)) / count
        variance = ops.sum((inputs - mean) ** 2 * rows, (0, 1, 2)) / count
        learned = (self.moving_mean, mean), (self.moving_variance, variance * (count / (count - 1)))
        for moving, found in learned:
            moving.assign(self.momentum * moving.value + (1 - self.momentum) * found)
        return ops.batch_normalization(
            inputs, mean, variance, -1, offset=self.beta.value, scale=self.gamma.value, epsilon=self.epsilon
        )
