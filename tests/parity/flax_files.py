"""Writes what a user of Flax has: `python tests/parity/flax_files.py FOLDER`. See `test_flax_files.py`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import linen, nnx, serialization

import resnet_core as rn

DEPTHS, CLASSES = (1, 2, 1, 1), 7

conv = partial(linen.Conv, use_bias=False)
norm = partial(linen.BatchNorm, use_running_average=True, momentum=0.9, epsilon=1e-5)


def shortcut(x: jax.Array, y: jax.Array, width: int, stride: int) -> jax.Array:
    if x.shape == y.shape:
        return x
    return norm(name="norm_proj")(conv(width, (1, 1), (stride, stride), name="conv_proj")(x))


class ResNetBlock(linen.Module):
    width: int
    stride: int

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = linen.relu(norm()(conv(self.width, (3, 3), (self.stride, self.stride))(x)))
        y = norm()(conv(self.width, (3, 3))(y))
        return linen.relu(y + shortcut(x, y, self.width, self.stride))


class BottleneckResNetBlock(linen.Module):
    width: int
    stride: int

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = linen.relu(norm()(conv(self.width, (1, 1))(x)))
        y = linen.relu(norm()(conv(self.width, (3, 3), (self.stride, self.stride))(y)))
        y = norm()(conv(4 * self.width, (1, 1))(y))
        return linen.relu(y + shortcut(x, y, 4 * self.width, self.stride))


class ResNet(linen.Module):
    block: Any
    depths: tuple[int, ...] = DEPTHS
    filters: int = 64

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = conv(self.filters, (7, 7), (2, 2), padding=[(3, 3), (3, 3)], name="conv_init")(x)
        x = linen.max_pool(linen.relu(norm(name="bn_init")(x)), (3, 3), strides=(2, 2), padding="SAME")
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                x = self.block(self.filters * 2**stage, 2 if stage and not block else 1)(x)
        return linen.Dense(CLASSES)(x.mean((1, 2)))


def drawn(variables: Any, rng: np.random.Generator) -> Any:
    """No scale is 1 and no mean 0, so that nothing that is lost goes unseen."""

    def draw(path: Any, array: jax.Array) -> np.ndarray:
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
        if path[-1].key in ("bias", "mean"):
            return rng.normal(0, 0.2, array.shape).astype(np.float32)
        return np.asarray(array)

    return jax.tree_util.tree_map_with_path(draw, variables)


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 66, 52, 3)).astype(np.float32)
    for kind, block in (("basic", ResNetBlock), ("bottleneck", BottleneckResNetBlock)):
        model = ResNet(block)
        variables = drawn(jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3))), rng)
        state = {**variables, "step": np.array(3), "opt_state": {"0": {"trace": variables["params"]}}}
        (folder / f"{kind}.msgpack").write_bytes(serialization.msgpack_serialize(state))
        ocp.PyTreeCheckpointer().save(folder / f"{kind}.orbax", state)
        logits = jax.jit(model.apply)(variables, images)
        np.savez(folder / f"{kind}.npz", images=images, logits=np.asarray(logits))
    with ocp.CheckpointManager(folder / "manager") as manager:
        manager.save(3, args=ocp.args.PyTreeSave(state))
        manager.wait_until_finished()
    (folder / "manager" / "3").rename(folder / "bottleneck.steps")

    for name in ("nnx", "named"):
        weights, spec = rn.load_weights(folder / f"{name}.safetensors")
        own = nnx.to_pure_dict(nnx.state(rn.build(spec, "flax", weights=weights)))
        pure = jax.tree.map(np.asarray, own)
        (folder / f"{name}.msgpack").write_bytes(serialization.msgpack_serialize(pure))
        ocp.PyTreeCheckpointer().save(folder / f"{name}.orbax", pure)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
