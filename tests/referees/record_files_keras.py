"""Record files of weights as Keras itself writes them, of narrow networks of keras.applications and of one's own.

Run once in each of three environments (README.md names the versions); what a version writes, it records:

    python tests/referees/record_files_keras.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1")

import keras
import numpy as np
from recorded import INPUT, drawn, fresh, picture, record

if keras.__version__ >= "3":
    from keras.src.applications import resnet

    STACKS = (resnet.stack_residual_blocks_v1, resnet.stack_residual_blocks_v2)
    save, save_weights = keras.Model.save, keras.Model.save_weights
else:
    from keras.applications import resnet
    from keras.saving import saving_lib

    STACKS = (resnet.stack1, resnet.stack2)
    save, save_weights = saving_lib.save_model, saving_lib.save_weights_only

#: {version of the network: (width, blocks) of each stage}, few, since HDF5 takes 2 KB for a layer without weights.
#: A stack of v2 has at least two blocks. The stem's width, 64, is the library's.
STAGES = {1: ((2, 1), (3, 2)), 2: ((2, 2), (3, 2))}

#: {version of Keras: [(file, version of the network, seed)]}. From 3.6 on, layers have their names in .weights.h5.
FILES = {
    "2.12.0": [("keras_2_12_v1.keras", 1, 31)],
    "3.0.5": [("keras_3_0_v1.weights.h5", 1, 32)],
    "3.5.0": [("keras_3_5_v2.weights.h5", 2, 34)],
    "3.15.1": [
        ("keras_v1.weights.h5", 1, 35),
        ("keras_v1.h5", 1, 36),
        ("keras_v1.keras", 1, 37),
        ("keras_v2.weights.h5", 2, 38),
        ("keras_v2.h5", 2, 39),
    ],
}


def network(generation: int, seed: int) -> Any:
    """The library's own network, with drawn values."""
    keras.backend.clear_session()
    stack, before = STACKS[generation - 1], generation == 2

    def stages(x: Any) -> Any:
        # As in ResNet50: v1 has the stride in the first block of a stage, and v2 in the last.
        own = STAGES[generation]
        for number, (width, blocks) in enumerate(own):
            stride = 1 if number == (len(own) - 1 if before else 0) else 2
            x = stack(x, width, blocks, stride1=stride, name=f"conv{number + 2}")
        return x

    given = {"weights": None, "classes": 5, "classifier_activation": None, "input_shape": INPUT[1:]}
    return _filled(resnet.ResNet(stages, before, True, **given), seed)


#: {version of Keras: (file, seed)} of the functional model below, whose layers have no names of their own.
FUNCTIONAL = {"3.5.0": ("keras_3_5_functional.weights.h5", 40)}
#: The spec that it is: TensorFlow's paddings and Keras' epsilon, unlike the networks of keras.applications.
FUNCTIONAL_SPEC = (
    "keras_resnet50",
    {"channels": [2, 3], "stem_channels": 8, "depths": [1, 2], "classes": 5, "stem_pool_padding": "same",
     "conv_padding": "same", "norm_epsilon": 1e-3},
)  # fmt: skip


def functional(seed: int) -> Any:
    """A ResNet as someone writes one in Keras, layers without names; a projection is made after the block."""
    keras.backend.clear_session()
    layers = keras.layers

    def normed(x: Any, width: int, kernel: int, strides: int, padding: str = "same") -> Any:
        x = layers.Conv2D(width, kernel, strides=strides, padding=padding)(x)
        return layers.BatchNormalization()(x)

    images = keras.Input(INPUT[1:])
    padded = layers.ZeroPadding2D(3)(images)
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.ReLU()(normed(padded, 8, 7, 2, "valid")))
    for stage, (width, blocks) in enumerate(STAGES[1]):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            y = layers.ReLU()(normed(x, width, 1, strides))
            y = layers.ReLU()(normed(y, width, 3, 1))
            y = normed(y, 4 * width, 1, 1)
            shortcut = x if block else normed(x, 4 * width, 1, strides)
            x = layers.ReLU()(layers.Add()([shortcut, y]))
    model = keras.Model(images, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))
    return _filled(model, seed)


def _filled(model: Any, seed: int) -> Any:
    for layer in model.layers:
        names = [f"{layer.name}/{each.name.rpartition('/')[2].partition(':')[0]}" for each in layer.weights]
        values = zip(names, layer.get_weights(), strict=True)
        layer.set_weights([drawn(name, array.shape, seed, "tensorflow") for name, array in values])
    return model


def logits(build: Callable[[], Any], seed: int) -> np.ndarray:
    """What the network computes in float64: variables are float32 in the file, and the same numbers here."""
    keras.backend.set_floatx("float64")
    try:
        output = build()(picture(seed).astype(np.float64), training=False)
    finally:
        keras.backend.set_floatx("float32")
    assert "float64" in str(output.dtype)
    return np.asarray(output.detach() if hasattr(output, "detach") else output)


def main() -> None:
    for name, generation, seed in FILES[keras.__version__]:
        model = network(generation, seed)
        write = save_weights if name.endswith(".weights.h5") else save
        write(model, str(fresh(name)))
        versions = {"keras": keras.__version__}
        truth = logits(partial(network, generation, seed), seed)
        record(name, truth, seed, versions, format="keras", layers=[
            layer.name for layer in model.layers if layer.weights
        ])  # fmt: skip
    for name, seed in (FUNCTIONAL[version] for version in FUNCTIONAL if version == keras.__version__):
        functional(seed).save_weights(str(fresh(name)))
        truth, versions = logits(partial(functional, seed), seed), {"keras": keras.__version__}
        record(name, truth, seed, versions, format="keras", spec=FUNCTIONAL_SPEC)


if __name__ == "__main__":
    main()
