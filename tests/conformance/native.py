"""A file's weights through a model of any backend; runs in worker processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from narrow import SPECS

import resnet_core as rn

Answer = tuple[Any, dict[str, np.ndarray] | None]


def through_the_model(session: Any, arrays: Any, *, backend: str, name: str, source: str, target: str) -> Answer:
    """A file's weights into a model and out into another file."""
    package = rn.load_backend(backend)
    weights, spec = rn.load_weights(source, spec=SPECS[name])
    model = package.build(spec, weights=weights, dtype=next(iter(weights.values())).dtype.name)
    rn.save_weights(Path(target), package.get_weights(model), spec)
    return None, None
