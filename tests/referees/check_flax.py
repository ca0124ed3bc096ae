"""Exported states in the networks of Flax' ImageNet example itself, and what else of it can be read off.

    RESNET_REFEREES_FLAX=flax-0.12.8.tar.gz python tests/referees/check_flax.py FOLDER

`cases.json` in the folder lists {"file", "network"}, and beside each FILE lies FILE.npz with `images` (batch, height,
width, channels) and the `output` that is expected of them. Prints JSON: {"errors": {file: error}, "tensors": {network:
{name: [shape, dtype]}}, "zeros": names of the scales that begin at zero, "decay": of the running statistics}.
"""

import os

os.environ.update(JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1")

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization, traverse_util
from flax_example import NETWORKS, program


def restored(path: Path) -> Any:
    if path.is_dir():
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path)
    return serialization.msgpack_restore(path.read_bytes())


def tensors(network: Any, classes: int) -> dict[str, list[Any]]:
    images = jnp.zeros((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(partial(network(num_classes=classes).init, train=False), jax.random.key(0), images)
    flat = traverse_util.flatten_dict(variables, sep="/")
    return {name: [list(array.shape), str(array.dtype)] for name, array in flat.items()}


def error(network: Any, path: Path) -> float:
    state = restored(path)
    classes = state["params"]["Dense_0"]["bias"].size
    found = traverse_util.flatten_dict(state, sep="/")
    shapes = {name: [list(array.shape), str(array.dtype)] for name, array in found.items()}
    assert shapes == tensors(network, classes), path  # as strict as `from_state_dict` into a new state
    with np.load(f"{path}.npz") as arrays:
        images, expected = arrays["images"], arrays["output"]
    double = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), state)
    model = network(num_classes=classes, dtype=jnp.float64)
    output = jax.jit(partial(model.apply, train=False))(double, jnp.asarray(images, jnp.float64))
    return float(np.abs(output - expected).max() / np.abs(expected).max())


def zeros(models: Any) -> list[str]:
    """Of a network with all kinds of blocks' places: which scales begin at zero."""
    network = models.ResNet(stage_sizes=(1, 2), block_cls=models.BottleneckResNetBlock, num_classes=3, num_filters=4)
    params = network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)["params"]
    flat = traverse_util.flatten_dict(params, sep="/")
    return sorted(name for name, array in flat.items() if name.endswith("scale") and not np.asarray(array).any())


def decay(models: Any) -> float:
    """What is left of the old statistics after a step, whatever the pictures were."""
    network = models.ResNet(stage_sizes=(1,), block_cls=models.ResNetBlock, num_classes=3, num_filters=4)
    images = jax.random.normal(jax.random.key(1), (1, 2, 32, 32, 3))
    variables = network.init(jax.random.key(0), images[0], train=False)

    def after(mean: float) -> float:
        statistics = jax.tree.map(lambda array: jnp.full_like(array, mean), variables["batch_stats"])

        def step(images: Any) -> Any:
            return network.apply({**variables, "batch_stats": statistics}, images, mutable=["batch_stats"])[1]

        return float(jax.vmap(step, axis_name="batch")(images)["batch_stats"]["bn_init"]["mean"][0, 0])

    return after(1.0) - after(0.0)


def main() -> None:
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        models = program("models", Path(place))
    cases = json.loads((folder / "cases.json").read_text())
    found = {
        "errors": {case["file"]: error(getattr(models, case["network"]), folder / case["file"]) for case in cases},
        "tensors": {name: tensors(getattr(models, name), 10) for name in NETWORKS},
        "zeros": zeros(models),
        "decay": decay(models),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
