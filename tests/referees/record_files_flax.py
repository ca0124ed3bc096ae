"""Record states as Flax and Orbax themselves write them: the ImageNet example's, narrow, and an NNX model of ours.

Run from the root of the repository in an environment with this project and what the example's `train.py` imports:

    RESNET_REFEREES_FLAX=flax-0.12.8.tar.gz python tests/referees/record_files_flax.py
"""

import os

os.environ.update(JAX_PLATFORMS="cpu")

import shutil
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flax_example
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from draw import image
from flax import config, nnx, serialization
from recorded import drawn, fresh, picture, record

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
    """What its `train.py` saves after two steps: parameters, statistics, the optimizer's state and the step.

    Narrow, with few classes, from drawn values. Orbax is what Flax saves with today, msgpack what it did before.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        train = flax_example.program("train", folder)
        train.NUM_CLASSES = 7
        for seed, kind, name, depths in (
            (51, "ResNetBlock", "flax_basic.msgpack", (1, 2, 1)),
            (52, "BottleneckResNetBlock", "flax_bottleneck", (1, 1, 1)),
        ):
            network = partial(train.models.ResNet, stage_sizes=depths, block_cls=getattr(train.models, kind))
            state = _trained(train, network, seed)
            config.update("flax_use_orbax_checkpointing", not name.endswith(".msgpack"))
            train.save_checkpoint(state, str(folder / kind))
            saved = folder / kind / "checkpoint_2"
            if saved.is_dir():
                (saved / "commit_success.txt").unlink()  # says only where on the recording machine it was
            shutil.move(saved, fresh(name))
            versions = {package: version(package) for package in ("flax", "jax", "orbax-checkpoint")}
            record(name, _logits(network, state, seed), seed, versions, format="flax")


def _trained(train: Any, network: Any, seed: int) -> Any:
    """The example's state after two of its steps, of which the first has a learning rate of zero."""
    size, classes = 64, train.NUM_CLASSES
    model = train.create_model(model_cls=partial(network, num_filters=4), half_precision=False)
    settings = ml_collections.ConfigDict(
        {"momentum": 0.9, "warmup_epochs": 1, "num_epochs": 2, "half_precision": False}
    )
    schedule = train.create_learning_rate_fn(settings, 0.1, steps_per_epoch=2)
    state = train.create_train_state(jax.random.key(0), settings, model, size, schedule)
    drawing = filled({"params": state.params, "batch_stats": state.batch_stats}, seed)
    state = state.replace(**drawing)
    step = jax.pmap(
        partial(train.train_step, learning_rate_fn=schedule),
        in_axes=(None, 0),
        out_axes=(None, 0),
        axis_name="batch",
    )
    images = image((1, 4, size, size, 3), seed)
    for _ in range(2):
        state, _ = step(state, {"image": images, "label": np.arange(4).reshape(1, 4) % classes})
    return state


def _logits(network: Any, state: Any, seed: int) -> np.ndarray:
    with jax.enable_x64(True):
        variables = double({"params": state.params, "batch_stats": state.batch_stats})
        classes = variables["params"]["Dense_0"]["bias"].size
        model = network(num_classes=classes, num_filters=4, dtype=jnp.float64)
        return np.asarray(model.apply(variables, jnp.asarray(picture(seed), jnp.float64), train=False))


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
    with jax.enable_x64(True):
        of_ours()
