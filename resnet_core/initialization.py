"""Initial weights, drawn in NumPy: a seed gives the same network in every framework, bit for bit.

Every tensor has its own random stream, keyed by the seed and its name, so it depends neither on the order in which
tensors are drawn nor on other layers. Values are rounded to float32 in either dtype, so that a float32 and a
float64 network start at the same point.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from typing import Literal

import numpy as np

from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.tree import Gate, Leaf, Node, Residual, Shape, Tensor, leaves, walk
from resnet_core.weights import Weights, require_dtype


@dataclass(frozen=True)
class Spread:
    """Variance scaling: variance `scale / fan`, with the fan of the layer's kernel.

    A truncated normal is cut at two of its deviations, and its variance is that before the cut.
    """

    scale: float
    fan: Literal["fan_in", "fan_out", "fan_avg"]
    distribution: Literal["normal", "truncated", "uniform"]

    def of(self, kernel: Shape) -> float:
        """The deviation for a kernel, or the limit on both sides of 0 of a uniform distribution."""
        fan_in, fan_out = fans(kernel)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.fan]
        if self.distribution != "uniform":
            return sqrt(self.scale / fan)
        # A variance of 1 / 3 is a limit of 1, said as PyTorch says it, to the last bit.
        return 1 / sqrt(fan) if 3 * self.scale == 1 else sqrt(3 * self.scale / fan)


#: {initializer: {role: spread}}; a role that has none starts at 0. `initialize` draws by them, and printed programs
#: say them in their framework's words.
SPREADS: dict[str, dict[str, Spread]] = {
    "torchvision": {
        "convolution": Spread(2.0, "fan_out", "normal"),
        "linear": Spread(1 / 3, "fan_in", "uniform"),
        "bias": Spread(1 / 3, "fan_in", "uniform"),
    },
    "he": {"convolution": Spread(2.0, "fan_in", "normal"), "linear": Spread(2.0, "fan_in", "normal")},
    "slim": {
        "convolution": Spread(1.3 * 2, "fan_in", "truncated"),
        "linear": Spread(1.3 * 2, "fan_in", "truncated"),
    },
    "xavier": {
        "convolution": Spread(1.0, "fan_avg", "uniform"),
        "linear": Spread(1.0, "fan_avg", "uniform"),
        "bias": Spread(1 / 3, "fan_in", "uniform"),
    },
}


def initialize(spec: Source, seed: int = 0, dtype: str = "float32") -> Weights:
    """{name: array} in neutral layout, drawn by the spec's `initializer`; norms start as the identity.

    - `torchvision`: convolutions N(0, 2 / fan_out); biases and linear U(-1, 1) / sqrt(fan_in)
      (torchvision/models/resnet.py and PyTorch's defaults).
    - `he`: N(0, 2 / fan_in), biases 0 (He et al. 2015, arXiv:1502.01852).
    - `slim`: truncated normal, cut at two standard deviations, variance 1.3 * 2 / fan_in, biases 0
      (tf_slim's variance_scaling_initializer).
    - `xavier`: U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), biases U(-1, 1) / sqrt(fan_in) (D2L's init_cnn).

    Raises InputError for a negative seed or an unknown dtype.
    """
    spec = read_spec(spec)
    weights: Weights = {}
    zeroed = set(residual_ends(layer_tree(spec))) if spec.zero_init_residual else set()
    for path, leaf in leaves(layer_tree(spec)):
        for suffix, tensor in leaf.tensors().items():
            name = f"{path}.{suffix}"
            if tensor.role in ("kernel", "bias"):
                value = _draw(spec.initializer, tensor, _kernel(leaf), _stream(seed, name))
            else:
                value = np.full(tensor.shape, tensor.start)
            if path in zeroed and tensor.role in ("kernel", "scale"):
                value = np.zeros(tensor.shape)
            weights[name] = _representable(value, dtype)
    return weights


def probe_weights(spec: Source, seed: int = 0, dtype: str = "float32") -> Weights:
    """Weights that expose every mapping error: no tensor is 0 or 1, and the logits stay near 1 at any depth.

    gamma and variance are drawn from U(.5, 1.5), beta, mean and biases from N(0, .2), kernels He-normal; the end of
    each residual body is scaled by 1 / sqrt(number of blocks), without which 100 blocks overflow. With plain initial
    weights, a swapped gamma and variance or lost running statistics would go unnoticed. Raises as `initialize` does.
    """
    return probe_tensors(layer_tree(spec), seed, dtype)


def probe_tensors(tree: Node, seed: int = 0, dtype: str = "float32") -> Weights:
    """The same for any layer tree."""
    scaled = set(residual_ends(tree))
    scale = 1 / sqrt(max(1, len(scaled)))
    weights: Weights = {}
    for path, leaf in leaves(tree):
        for suffix, (shape, role, start) in leaf.tensors().items():
            name = f"{path}.{suffix}"
            rng = _stream(seed, f"probe.{name}")
            if role == "kernel":
                value = rng.standard_normal(shape) * sqrt(2 / fans(shape)[0])
            elif start == 1:
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.standard_normal(shape) * 0.2
            if path in scaled and role != "statistic":
                value *= scale
            weights[name] = _representable(value, dtype)
    return weights


def residual_ends(tree: Node) -> Iterator[str]:
    """Path of the last leaf with tensors in each residual body: its norm, or with pre-activation its convolution.

    A gate behind it is none: what it multiplies is 0 then.
    """
    for path, node in walk(tree):
        if isinstance(node, Residual):
            gates = [place for place, gate in walk(node.body, path) if isinstance(gate, Gate)]
            ends = [place for place, leaf in leaves(node.body, path) if leaf.tensors()]
            yield from [end for end in ends if not any(end.startswith(f"{gate}.") for gate in gates)][-1:]


def fans(kernel: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a kernel (out, in / groups, …), as PyTorch counts them: a group's inputs, all outputs."""
    outputs, inputs, *window = kernel
    return inputs * prod(window), outputs * prod(window)


def _stream(seed: int, name: str) -> np.random.Generator:
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed: received {seed!r}; expected an integer from 0")
    return np.random.Generator(np.random.PCG64([int(seed), zlib.crc32(name.encode())]))


def _representable(value: np.ndarray, dtype: str) -> np.ndarray:
    require_dtype(dtype)
    return value.astype(np.float32).astype(dtype)


def _kernel(leaf: Leaf) -> Shape:
    (shape,) = [tensor.shape for tensor in leaf.tensors().values() if tensor.role == "kernel"]
    return shape


def _draw(initializer: str, tensor: Tensor, kernel: Shape, rng: np.random.Generator) -> np.ndarray:
    role = "bias" if tensor.role == "bias" else "convolution" if len(kernel) > 2 else "linear"
    spread = SPREADS[initializer].get(role)
    if spread is None:
        return np.zeros(tensor.shape)
    size = spread.of(kernel)
    if spread.distribution == "uniform":
        return rng.uniform(-size, size, tensor.shape)
    normal = _truncated_normal if spread.distribution == "truncated" else _normal
    return normal(tensor.shape, rng) * size


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape)


def _truncated_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values
