"""Other people's programs in Keras, run on their own weights: the referees of conversions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from resnet_core.errors import WeightsError


def run_program(
    format: str,
    path: Path,
    spec: Mapping[str, Any],
    told: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    images: np.ndarray,
) -> tuple[str, np.ndarray] | None:
    """(what ran, logits) of keras.applications' own network of this spec with the file's weights, in float32.

    `told` and `arrays` are not used: it takes no such arguments, and Keras reads the file itself. None where the
    library has no network of this name, and for a whole `.keras` file, which brings its own. Raises WeightsError if it
    does not take exactly these weights.
    """
    name = str(spec["name"]).removeprefix("keras_").replace("resnet", "ResNet").replace("_v2", "V2")
    build = getattr(keras.applications, name, None)
    if build is None or path.suffix == ".keras":
        return None
    given = {"classes": spec["classes"], "classifier_activation": None, "input_shape": images.shape[1:]}
    try:
        model = build(weights=None, **given)
        model.load_weights(str(path))
    except Exception as error:  # Keras raises almost anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path}: keras.applications.{name} does not take these weights: {first[:150]}") from error
    logits = keras.ops.convert_to_numpy(model(images.astype(np.float32), training=False))
    return f"keras.applications.{name} of Keras {keras.__version__} in float32", logits
