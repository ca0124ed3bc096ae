"""Weights and images drawn from a name and a seed, so that no fixture has to store a network.

The recorders and the tests both draw from here: a fixture holds outputs only, and a test redraws
the weights that produced them. Values are non-trivial on purpose, because freshly initialized
norms (gamma 1, beta 0, mean 0, variance 1) would hide a swapped or forgotten tensor.
"""

import zlib
from collections.abc import Mapping

import numpy as np

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
State = dict[str, np.ndarray]

# Without it, a thousand summed features make logits of 5 to 30, where float32 is too coarse for 1e-5.
CLASSIFIER_DAMP = 0.125


def _uniforms(name: str, shape: Shape, seed: int) -> np.ndarray:
    # Only `random` is used: its doubles are taken straight from the bit stream, whereas the methods
    # for other distributions may change between NumPy versions.
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    return generator.random(shape)


def _normals(name: str, shape: Shape, seed: int) -> np.ndarray:
    first, second = _uniforms(name, (2, *shape), seed)
    # Box-Muller; 1 - u lies in (0, 1], which keeps the logarithm finite. The logarithm and cosine may
    # differ in their last double bit between builds, which float32 rounding hides almost always.
    radius: np.ndarray = np.sqrt(-2.0 * np.log(1.0 - first))
    return radius * np.cos(2.0 * np.pi * second)


def _fan_in(shape: Shape, layout: str) -> int:
    """Inputs that one output unit sums over: every axis of the kernel but the output axis."""
    if layout == "torch":  # (out, in / groups, height, width)
        return int(np.prod(shape[1:]))
    if layout == "tensorflow":  # (height, width, in, out)
        return int(np.prod(shape[:-1]))
    raise ValueError(f"unknown kernel layout: {layout!r}")


def draw(name: str, shape: Shape, kind: str, seed: int, damp: float = 1.0, layout: str = "torch") -> np.ndarray:
    """Draw one float32 tensor; `name` and `seed` decide the stream, `damp` scales the result."""
    if kind == "kernel":
        values = _normals(name, shape, seed) * (2.0 / _fan_in(shape, layout)) ** 0.5
    elif kind in ("bias", "beta", "mean"):
        values = 0.2 * _normals(name, shape, seed)
    elif kind in ("gamma", "variance"):
        values = 0.5 + _uniforms(name, shape, seed)
    else:
        raise ValueError(f"unknown kind of tensor: {kind!r}")
    return np.asarray(values * damp, dtype=np.float32)


def image(shape: Shape, seed: int) -> np.ndarray:
    """Draw a float32 batch of images, NHWC, each value a standard normal."""
    return _normals("image", shape, seed).astype(np.float32)


def torchvision_state(shapes: Shapes, blocks: int, seed: int) -> State:
    """Draw the state of a torchvision ResNet, keyed and laid out as its `state_dict`."""
    state: State = {}
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition(".")
        if leaf == "weight":
            kind = "kernel" if len(shape) > 1 else "gamma"
        elif leaf == "bias":
            kind = "bias" if layer == "fc" else "beta"
        else:
            kind = {"running_mean": "mean", "running_var": "variance"}[leaf]
        # The last norm of a residual body scales what the block adds to the stream. Damping it
        # keeps the stream from growing with depth. Basic blocks have no `bn3`.
        block, _, norm = layer.rpartition(".")
        last = "bn3" if f"{block}.bn3.weight" in shapes else "bn2"
        damp = 1.0
        if block and norm == last and kind in ("gamma", "beta"):
            damp = blocks**-0.5
        elif name == "fc.weight":
            damp = CLASSIFIER_DAMP
        state[name] = draw(name, shape, kind, seed, damp, "torch")
    return state


def timm_state(shapes: Shapes, blocks: int, seed: int) -> State:
    """Draw the state of one of timm's ResNets (resnet.py, resnetv2.py, byobnet.py), as in its `state_dict`."""
    state: State = {}
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition(".")
        if leaf == "weight":
            kind = "kernel" if len(shape) > 1 else "gamma"
        else:
            kind = {"bias": "bias", "running_mean": "mean", "running_var": "variance"}[leaf]
        # As above: what scales a residual block's output is damped, its last norm or, before an activation, its
        # last convolution.
        block, _, last = layer.rpartition(".")
        ends = {"bn3", "bn2"} if f"{block}.bn3.weight" not in shapes else {"bn3"}
        ends |= {"conv3"} if f"{block}.norm3.weight" in shapes else set()
        damped = layer.endswith("conv3_1x1.bn") or (last in ends and block.startswith(("layer", "stages")))
        damp = blocks**-0.5 if damped and kind in ("gamma", "bias", "kernel") else 1.0
        state[name] = draw(name, shape, kind, seed, CLASSIFIER_DAMP if ".fc." in f".{name}" else damp, "torch")
    return state


def tf_slim_state(shapes: Shapes, blocks: int, seed: int) -> State:
    """Draw the variables of a tf_slim ResNet v2, keyed and laid out as in its graph."""
    kinds = {"weights": "kernel", "biases": "bias", "gamma": "gamma", "beta": "beta"}
    kinds |= {"moving_mean": "mean", "moving_variance": "variance"}
    state: State = {}
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition("/")
        # Here no norm follows the last convolution of a unit, so the convolution itself is damped.
        damp = 1.0
        if layer.endswith("/conv3"):
            damp = blocks**-0.5
        elif name.endswith("/logits/weights"):
            damp = CLASSIFIER_DAMP
        state[name] = draw(name, shape, kinds[leaf], seed, damp, "tensorflow")
    return state


def absolute_sum(state: State) -> float:
    """Sum of all magnitudes: tells a changed draw from a changed network."""
    return float(sum(np.abs(tensor, dtype=np.float64).sum() for tensor in state.values()))
