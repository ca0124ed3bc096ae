"""How the laboratory sets its Keras workers up."""

from __future__ import annotations

from typing import Any


def exact_keras_float64(session: Any, arrays: Any) -> tuple[None, None]:
    """Make Keras' JAX and PyTorch backends compute float64 in float64 (its private table says float32)."""
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    return None, None


def run_eagerly(session: Any, arrays: Any, *, eagerly: bool) -> tuple[None, None]:
    """Run TensorFlow's functions step by step, or as the graphs that users run."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(eagerly)
    return None, None
