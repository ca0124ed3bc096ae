"""Each framework's own road to deployment: written in a worker, run by what runs such files, without this project.

An artefact takes any number of pictures of the size at which it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnet_core.spec_files import from_json


class Road(NamedTuple):
    """`engine` writes the file `name` with the function `written`; the program `run` reads it in a new process.

    `needs` is what that process imports, `hidden` what else it may not.
    """

    engine: str
    name: str
    run: str
    needs: str
    hidden: tuple[str, ...] = ()


#: In front of each: `place`, `images` (NHWC); behind it `output` is saved.
BEFORE = "import sys, numpy as np\nplace, images = sys.argv[1], np.load(sys.argv[2])\n"
AFTER = "\nnp.save(sys.argv[3], np.asarray(output))\n"

_SAVED_MODEL = """import tensorflow as tf
network = tf.saved_model.load(place)
output = network.serve(tf.constant(images))"""

ROADS = {
    "torch.export": Road(
        "torch",
        "model.pt2",
        """import torch
program = torch.export.load(place).module()
with torch.no_grad():
    output = program(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))""",
        "torch",
    ),
    "SavedModel": Road("keras", "saved_model", _SAVED_MODEL, "tensorflow", ("keras",)),
    "SavedModel from JAX": Road("keras_jax", "saved_model", _SAVED_MODEL, "tensorflow", ("keras",)),
    "LiteRT": Road(
        "keras",
        "model.tflite",
        """from ai_edge_litert.interpreter import Interpreter
network = Interpreter(place)
(given,), (made,) = network.get_input_details(), network.get_output_details()
network.resize_tensor_input(given["index"], images.shape)
network.allocate_tensors()
network.set_tensor(given["index"], images)
network.invoke()
output = network.get_tensor(made["index"])""",
        "ai_edge_litert",
        ("tensorflow", "keras"),
    ),
    "StableHLO": Road(
        "flax",
        "model.stablehlo",
        """from pathlib import Path
import jax
output = jax.export.deserialize(bytearray(Path(place).read_bytes())).call(images)""",
        "jax",
        ("flax",),
    ),
}


def write(session: Any, arrays: Any, *, road: str, spec: str, path: str) -> tuple[None, None]:
    """The artefact of a network with the weights in `arrays`, for pictures of the spec's size."""
    network = from_json(spec)
    model = session.backend.build(network, weights=arrays)
    _WRITERS[road](model, (*network.input_size, network.in_channels), path)
    return None, None


def _torch_export(model: Any, shape: tuple[int, ...], path: str) -> None:
    import torch

    height, width, channels = shape
    example = torch.zeros(2, channels, height, width)
    program = torch.export.export(model.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)


def _keras_export(model: Any, shape: tuple[int, ...], path: str) -> None:
    import keras

    fixed = keras.models.clone_model(model, input_tensors=keras.Input(shape))
    fixed.set_weights(model.get_weights())
    fixed.export(path, format="litert" if Path(path).suffix == ".tflite" else "tf_saved_model", verbose=False)


def _stablehlo(model: Any, shape: tuple[int, ...], path: str) -> None:
    import jax
    from flax import nnx

    network = nnx.view(model, use_running_average=True, deterministic=True, raise_if_not_found=False)
    images = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("batch"), *shape), np.float32)
    Path(path).write_bytes(jax.export.export(jax.jit(lambda images: network(images)))(images).serialize())


_WRITERS: dict[str, Callable[[Any, tuple[int, ...], str], None]] = {
    "torch.export": _torch_export,
    "SavedModel": _keras_export,
    "SavedModel from JAX": _keras_export,
    "LiteRT": _keras_export,
    "StableHLO": _stablehlo,
}
