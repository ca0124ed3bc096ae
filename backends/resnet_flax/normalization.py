"""Batch norm whose sums XLA computes slowly on a CPU in training, in the form of `resnet_core.xla_forms`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from resnet_core import xla_forms

#: (batch,): which rows statistics are about, while a batch is traced that others fill up.
COUNTED: ContextVar[Array | None] = ContextVar("COUNTED", default=None)


class BatchNorm(nnx.BatchNorm):
    """`nnx.BatchNorm`; in training on a CPU its statistics and gradients are sums by products."""

    def __call__(self, x: Array, use_running_average: bool | None = None, *, mask: Array | None = None) -> Array:
        evaluating = self.use_running_average if use_running_average is None else use_running_average
        usual = mask is None and self.axis_name is None and x.ndim == 4 and x.dtype == self.scale.get_value().dtype
        full, counted = x.dtype in (jnp.float32, jnp.float64), COUNTED.get()
        if evaluating is not False or not usual or not full or jax.default_backend() != "cpu":
            mask = mask if counted is None else counted.reshape(-1, *(1,) * (x.ndim - 1)) > 0
            return super().__call__(x, use_running_average, mask=mask)
        scale, bias = self.scale.get_value(), self.bias.get_value()
        outputs, mean, variance = xla_forms.batch_norm(jnp, x, scale, bias, self.epsilon, counted)
        for statistic, value in ((self.mean, mean), (self.var, variance)):
            kept = self.momentum * statistic.get_value()
            statistic.set_value(lax.stop_gradient(kept + (1 - self.momentum) * value))
        return cast(Array, outputs)
