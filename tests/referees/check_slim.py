"""Restore exported checkpoints by a Saver in TF-slim's own networks, and compare what those compute.

Run in an environment with TensorFlow and tf_slim (README.md names the versions):

    python tests/referees/check_slim.py FOLDER

For each NAME.ckpt in the folder, of `resnet_v1_50` or `resnet_v2_50`, NAME.npz has `images`, the `output` that is
expected of them, and the arguments of a dense network, if it is one. Prints JSON: {name: error}.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim
from tf_slim.nets import resnet_v1, resnet_v2

NETWORKS = {"resnet_v1_50": resnet_v1.resnet_v1_50, "resnet_v2_50": resnet_v2.resnet_v2_50}


def network(name: str, images: np.ndarray, classes: int, **arguments: Any) -> Any:
    """The fused norm has no float64, and it raises epsilon to 1.001e-5 where 1e-5 is asked for."""
    with tf_slim.arg_scope(resnet_v2.resnet_arg_scope()), tf_slim.arg_scope([tf_slim.batch_norm], fused=False):
        return NETWORKS[name](tf.constant(images), num_classes=classes, is_training=False, **arguments)[0]


def restored(name: str, checkpoint: Path, images: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Every variable of the network, which are all that the checkpoint has, as a Saver restores them."""
    with tf.Graph().as_default(), tf.Session() as session:
        network(name, images, classes)
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        assert set(tf.train.load_checkpoint(str(checkpoint)).get_variable_to_shape_map()) == set(variables)
        tf.train.Saver().restore(session, str(checkpoint))
        return session.run(variables)


def main() -> None:
    tf.disable_v2_behavior()
    folder, errors = Path(sys.argv[1]), {}
    for file in sorted(folder.glob("*.ckpt.index")):
        checkpoint = file.with_suffix("")
        with np.load(checkpoint.with_suffix(".npz")) as arrays:
            images, expected = arrays["images"], arrays["output"]
            stride = int(arrays["output_stride"]) if "output_stride" in arrays else None
        arguments = {} if stride is None else {"output_stride": stride, "global_pool": False}
        name = checkpoint.stem.removeprefix("planted_").removeprefix("dense_")
        values = restored(name, checkpoint, images, expected.shape[-1])
        with tf.Graph().as_default(), tf.Session() as session:
            output = network(name, images.astype(np.float64), expected.shape[-1], **arguments)
            for variable in tf.global_variables():
                variable.load(values[variable.op.name].astype(np.float64), session)
            found = session.run(output).ravel()
        errors[checkpoint.stem] = float(np.abs(found - expected.ravel()).max() / np.abs(expected).max())
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
