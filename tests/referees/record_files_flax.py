"""Record states as Flax and Orbax themselves write them: the ImageNet example's, narrow, and an NNX model of ours.

Run from the root of the repository in this project's own environment:

    PYTHONPATH=tests/parity python tests/referees/record_files_flax.py
"""

import os

os.environ.update(JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1")

from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx, serialization
from recorded import drawn, fresh, picture, record

import flax_files
import resnet_core as rn

OURS = ("seresnet50", {"channels": [4, 4, 4, 6], "depths": [1, 1, 1, 1], "classes": 5})


def filled(variables: Any, seed: int) -> Any:
    """The same tree with drawn values; counters and keys stay."""

    def fill(path: Any, array: Any) -> Any:
        name = "/".join(str(getattr(part, "key", part)) for part in path)
        floating = jnp.issubdtype(array.dtype, jnp.floating)
        return drawn(name, array.shape, seed, "tensorflow") if floating else np.asarray(array)

    return jax.tree_util.tree_map_with_path(fill, variables)


def double(tree: Any) -> Any:
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), tree)


def of_the_example() -> None:
    """As its `save_checkpoint` does: parameters and statistics, with the step and the optimizer's state."""
    for seed, kind, block, depths in (
        (51, "basic", flax_files.ResNetBlock, (1, 2, 1)),
        (52, "bottleneck", flax_files.BottleneckResNetBlock, (1, 1, 1)),
    ):
        model = flax_files.ResNet(block, depths=depths, filters=4)
        drawing = filled(jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3), jnp.float32)), seed)
        traces = jax.tree.map(np.ones_like, drawing["params"])
        state = {**drawing, "step": np.array(3), "opt_state": {"0": {"trace": traces}}}
        name = f"flax_{kind}.msgpack" if kind == "basic" else f"flax_{kind}"
        if kind == "basic":
            fresh(name).write_bytes(serialization.msgpack_serialize(state))
        else:
            ocp.PyTreeCheckpointer().save(folder := fresh(name), state)
            (folder / "commit_success.txt").unlink()  # says only where on the recording machine it was
        images = jnp.asarray(picture(seed), jnp.float64)
        versions = {package: version(package) for package in ("flax", "jax", "orbax-checkpoint")}
        record(name, np.asarray(model.apply(double(drawing), images)), seed, versions, format="flax")


def of_ours() -> None:
    """The state of a model of this project; what it computes is said by Flax, in float64."""
    seed, name = 53, "flax_nnx.msgpack"
    model = rn.build(rn.spec(OURS[0], **OURS[1]), "flax")
    state = filled(nnx.to_pure_dict(nnx.state(model)), seed)
    fresh(name).write_bytes(serialization.msgpack_serialize(jax.tree.map(np.asarray, state)))
    graph, given = nnx.split(model)
    nnx.replace_by_pure_dict(given, double(state))
    model = nnx.merge(graph, given)
    model.eval()
    versions = {package: version(package) for package in ("flax", "jax")}
    logits = np.asarray(model(jnp.asarray(picture(seed), jnp.float64)))
    record(name, logits, seed, versions, str(logits.dtype), format="nnx", spec=OURS)


if __name__ == "__main__":
    of_the_example()
    of_ours()
