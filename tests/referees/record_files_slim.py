"""Record checkpoints as tf_slim's users write them, by TensorFlow's own Saver, of narrow networks.

Run in an environment with TensorFlow and tf_slim (README.md names the versions):

    python tests/referees/record_files_slim.py
"""

import os
from importlib.metadata import version
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim
from recorded import FOLDER, drawn, fresh, picture, record
from tf_slim.nets import resnet_v1, resnet_v2

#: (width, units, stride) of each block. The root's width, 64, is the library's.
BLOCKS = ((2, 1, 2), (3, 2, 2), (4, 1, 1))


def network(module: Any, scope: str, images: Any) -> Any:
    """The library's own network. Its fused norm has no float64, and raises epsilon to 1.001e-5 where 1e-5 is asked."""
    block = getattr(module, f"{scope[:9]}_block")
    blocks = [block(f"block{n}", width, units, stride) for n, (width, units, stride) in enumerate(BLOCKS, start=1)]
    build = getattr(module, scope[:9])
    with tf_slim.arg_scope(resnet_v2.resnet_arg_scope()), tf_slim.arg_scope([tf_slim.batch_norm], fused=False):
        return build(images, blocks, 5, is_training=False, scope=scope)[0]


def load(seed: int, session: Any) -> None:
    """Draw every variable of the network; what an optimizer has is 1."""
    for variable in tf.global_variables():
        name, dtype = variable.op.name, variable.dtype.base_dtype.as_numpy_dtype
        if name.endswith("/Momentum"):
            variable.load(np.ones(variable.shape, dtype), session)
        elif name != "global_step":
            variable.load(drawn(name, tuple(variable.shape.as_list()), seed, "tensorflow").astype(dtype), session)


def main() -> None:
    tf.disable_v2_behavior()
    for module, scope, seed in ((resnet_v1, "resnet_v1_14", 41), (resnet_v2, "resnet_v2_14", 42)):
        images = picture(seed)
        with tf.Graph().as_default(), tf.Session() as session:
            output = network(module, scope, tf.constant(images))
            if module is resnet_v2:  # a training's checkpoint: with a counter, and slots of an optimizer
                step, optimizer = tf.train.get_or_create_global_step(), tf.train.MomentumOptimizer(0.1, 0.9)
                optimizer.minimize(tf.reduce_sum(output), global_step=step)
            session.run(tf.global_variables_initializer())
            load(seed, session)
            name = f"slim_{scope[7:9]}.ckpt"
            fresh(f"{name}.index")
            tf.train.Saver().save(session, str(FOLDER / name), write_meta_graph=False, write_state=False)
        with tf.Graph().as_default(), tf.Session() as session:
            output = network(module, scope, tf.constant(images.astype(np.float64)))
            load(seed, session)
            versions = {package: version(package) for package in ("tensorflow-cpu", "tf_slim")}
            record(f"{name}.index", session.run(output), seed, versions, format="slim")


if __name__ == "__main__":
    main()
