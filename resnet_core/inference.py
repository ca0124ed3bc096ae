"""The form in which a network is run when nothing but its output is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnet_core.analysis import totals
from resnet_core.specification import ResNetSpec

#: From so many multiplications on, another form of a network is made, which takes up to a second: those of 25 pictures
#: of 224 x 224 in ResNet-50, which then take up to two seconds less.
FAST_FROM = 1e11
#: And from so many, what takes long to make: those of 5,000 such pictures, for which inductor takes half a minute and
#: then computes 1.1 to 1.7 times as fast, according to the processor.
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
    """A backend's model of the network for inference, as so many pictures of a size are predicted soonest.

    `backend` is a package (`load_backend`). One that does not offer `fast`, such as the reference, gets the network as
    the spec says it: folding is for speed alone, and rounds the weights once more.
    """
    model = backend.build(spec, weights=weights, dtype=dtype)
    return fast_form(backend, model, spec, pictures=pictures, size=size)


def fast_form(backend: Any, model: Any, spec: ResNetSpec, *, pictures: int, size: tuple[int, int]) -> Any:
    """The same of a model of the network that is built already."""
    fast, work = getattr(backend, "fast", None), pictures * totals(spec, size).macs
    if not callable(fast) or work < FAST_FROM:
        return model
    return fast(model, compiled=work >= COMPILED_FROM)
