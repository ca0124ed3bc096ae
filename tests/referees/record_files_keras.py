"""Record files of weights as Keras itself writes them, of narrow networks of keras.applications.

Run once in each of three environments (README.md names the versions); what a version writes, it records:

    python tests/referees/record_files_keras.py
"""

from __future__ import annotations

import os
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
    model = resnet.ResNet(stages, before, True, **given)
    for layer in model.layers:
        names = [f"{layer.name}/{each.name.rpartition('/')[2].partition(':')[0]}" for each in layer.weights]
        values = zip(names, layer.get_weights(), strict=True)
        layer.set_weights([drawn(name, array.shape, seed, "tensorflow") for name, array in values])
    return model


def logits(generation: int, seed: int) -> np.ndarray:
    """What the network computes in float64: variables are float32 in the file, and the same numbers here."""
    keras.backend.set_floatx("float64")
    try:
        output = network(generation, seed)(picture(seed).astype(np.float64), training=False)
    finally:
        keras.backend.set_floatx("float32")
    assert "float64" in str(output.dtype)
    return np.asarray(output)


def main() -> None:
    for name, generation, seed in FILES[keras.__version__]:
        model = network(generation, seed)
        write = save_weights if name.endswith(".weights.h5") else save
        write(model, str(fresh(name)))
        versions = {"keras": keras.__version__}
        record(name, logits(generation, seed), seed, versions, format="keras", layers=[
            layer.name for layer in model.layers if layer.weights
        ])  # fmt: skip


if __name__ == "__main__":
    main()
