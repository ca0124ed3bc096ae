"""Record what tf_slim's pre-activation ResNet-50 computes, as fixtures for the tests.

Run in an environment with TensorFlow and tf_slim (README.md names the versions):

    python tests/referees/record_tf_slim.py [FOLDER]
"""

import argparse
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf
import tf_slim
from draw import Shape, State, absolute_sum, image, tf_slim_state
from tf_slim.nets import resnet_v2

SCOPE = "resnet_v2_50"


@dataclass(frozen=True)
class Case:
    seed: int
    input_shape: Shape
    classes: int
    global_pool: bool
    output_stride: int | None
    blocks: int = 16


# Heights and widths of both parities, and so that every strided layer meets both.
CASES = {
    "pooled": Case(seed=250, input_shape=(1, 61, 52, 3), classes=10, global_pool=True, output_stride=None),
    "dense16": Case(seed=216, input_shape=(1, 64, 81, 3), classes=21, global_pool=False, output_stride=16),
    "dense8": Case(seed=208, input_shape=(1, 34, 55, 3), classes=21, global_pool=False, output_stride=8),
}


def compute(case: Case) -> tuple[dict[str, np.ndarray], State]:
    """Run one case in float64 on float32 values; return the taps and the drawn variables."""
    images = image(case.input_shape, case.seed)
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float64, case.input_shape)
        # The fused norm has no float64 kernel, and it raises epsilon to 1.001e-5 where 1e-5 is asked for.
        with (
            tf_slim.arg_scope(resnet_v2.resnet_arg_scope()),
            tf_slim.arg_scope([tf_slim.batch_norm], fused=False),
        ):
            logits, ends = resnet_v2.resnet_v2_50(
                inputs,
                num_classes=case.classes,
                is_training=False,
                global_pool=case.global_pool,
                output_stride=case.output_stride,
                scope=SCOPE,
            )
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        shapes = {name: tuple(variable.shape.as_list()) for name, variable in variables.items()}
        state = tf_slim_state(shapes, case.blocks, case.seed)
        for name, variable in variables.items():
            variable.load(state[name].astype(np.float64), session)

        # The root max-pool is no end point of slim's; an end point `blockN` follows the last unit.
        pool = tf.get_default_graph().get_tensor_by_name(f"{SCOPE}/pool1/MaxPool:0")
        stages = {f"stage{number}": ends[f"{SCOPE}/block{number}"] for number in range(1, 5)}
        taps = session.run({"stem": pool, **stages, "logits": logits}, {inputs: images.astype(np.float64)})
    return {"input": images, **{key: value.astype(np.float32) for key, value in taps.items()}}, state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    tf.disable_v2_behavior()
    cases = {}
    for name, case in CASES.items():
        taps, state = compute(case)
        np.savez_compressed(folder / f"tf_slim_{name}.npz", **taps)
        cases[name] = {
            **asdict(case),
            "absolute_sum": absolute_sum(state),
            "state": {key: value.shape for key, value in state.items()},
        }
    versions = {package: version(package) for package in ("tensorflow-cpu", "tf_slim", "numpy")}
    text = json.dumps({"versions": versions, "model": SCOPE, "cases": cases})
    (folder / "tf_slim.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
