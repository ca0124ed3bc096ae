"""Batch norm in training: sums over pixels as products with ones, a workaround for XLA, needed only in this backend.

XLA adds up the pixels of each channel slowly on a CPU, in the forward pass and in the gradients of what was spread over
them, and a network with batch norms spent a third of a training step there. A product computes the same, forward and
backward, and rounds less (jax 0.10.2, two cores of an AMD EPYC, 16 maps of 14 x 14 x 1024: 106 ms versus 11; of
56 x 56 x 256: 200 versus 104). XLA has another way to add, in YNNPACK, which is as fast, and wrong on some machines
(jax#39103); it is off (`runtime.configure`).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

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
        rows = jnp.ones(len(x), x.dtype) if counted is None else counted
        count = (len(x) if counted is None else counted.sum()) * (x.shape[1] * x.shape[2])
        mean = _total(x, rows) / count
        centered = x - _spread(mean, x)
        variance = _total(centered**2, rows) / count
        for statistic, value in ((self.mean, mean), (self.var, variance)):
            kept = self.momentum * statistic.get_value()
            statistic.set_value(lax.stop_gradient(kept + (1 - self.momentum) * value))
        factor = self.scale.get_value() * lax.rsqrt(variance + self.epsilon)
        return centered * _spread(factor, x) + _spread(self.bias.get_value(), x)


def _total(x: Array, rows: Array) -> Array:
    """(batch, height, width, channels) to (channels,): the sum over everything else, of rows by their weights."""
    pixels = x.reshape(x.shape[0], -1, x.shape[-1])
    weights = jnp.broadcast_to(rows[:, None], pixels.shape[:2])
    return _product("bn,bnc->bc", weights, pixels).sum(0)


def _spread(values: Array, like: Array) -> Array:
    """(channels,) to the shape of `like`; the derivative is a `_total`."""
    batch, *size, channels = like.shape
    ones = jnp.ones((batch, like.size // (batch * channels)), like.dtype)
    spread = _product("bn,bc->bnc", ones, jnp.broadcast_to(values, (batch, channels)))
    return spread.reshape(batch, *size, channels)


def _product(form: str, *factors: Any) -> Array:
    return jnp.einsum(form, *factors, precision=lax.Precision.HIGHEST)
