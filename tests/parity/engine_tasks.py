"""How the pool sets its Keras workers up."""

from __future__ import annotations

import gc
import sys
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


def forget(session: Any, arrays: Any) -> tuple[None, None]:
    """Let go of the model and of what was compiled for it: a zoo of compiled networks takes gigabytes."""
    session.model = None
    if "keras" in session.backend.__name__:
        import keras

        keras.backend.clear_session()
    if "jax" in sys.modules:
        import jax

        jax.clear_caches()
    gc.collect()
    return None, None
