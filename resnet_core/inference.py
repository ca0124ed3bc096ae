"""The form in which a network is run when nothing but its output is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnet_core.analysis import totals
from resnet_core.deployment import deploy
from resnet_core.specification import ResNetSpec

#: From so many multiplications on, what takes long to make is made: those of 5,000 pictures of 224 x 224 in ResNet-50,
#: for which inductor takes half a minute and then computes 1.1 to 1.7 times as fast, according to the processor.
COMPILED_FROM = 2e13


def fast_model(
    backend: Any,
    spec: ResNetSpec,
    weights: Mapping[str, np.ndarray],
    *,
    dtype: str,
    pictures: int,
    size: tuple[int, int],
) -> Any:
    """A backend's model of the network in deploy form, as so many pictures of a size are predicted soonest.

    `backend` is a package (`load_backend`). One that does not offer `fast`, such as the reference, gets the network as
    the spec says it: folding is for speed alone, and rounds the weights once more.
    """
    fast = getattr(backend, "fast", None)
    if not callable(fast):
        return backend.build(spec, weights=weights, dtype=dtype)
    folded, deployed = deploy(weights, spec)
    model = backend.build(deployed, weights=folded, dtype=dtype)
    return fast(model, compiled=pictures * totals(deployed, size).macs >= COMPILED_FROM)
