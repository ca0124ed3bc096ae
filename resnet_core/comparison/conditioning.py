"""How much a network enlarges a small change of its images, and rounding with it: what float32 cannot tell apart there.

In evaluation mode batch norms damp a change on its way; a pre-activation network with group norms (BiT) enlarges it at
each block. Two correct frameworks then differ by more than the fixed limit, which stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from resnet_core.comparison.result import BackendResult
from resnet_core.numerics import relative_error
from resnet_core.workers.child import Arrays

#: Relative change of the images: far above rounding in float64, and far below where the network is not linear.
CHANGE = 2.0**-30
#: From what factor on it is worth a word.
WORTH = 3.0


def amplified(
    results: Iterable[BackendResult], reference: Arrays, images: np.ndarray, again: Callable[[np.ndarray], Arrays]
) -> tuple[str, float] | None:
    """(tap, times) where the network enlarges a change the most, if that may be all that float32 results differ by.

    `reference` is what the reference has for the `images`; `again` computes the same for others, and is called only
    where outputs in float32 are beyond their limit, and nothing else is wrong. None otherwise.
    """
    beyond: list[tuple[str, float]] = []  # taps, and the error as a multiple of its limit
    for result in results:
        for key, limit in result.tolerances.items() if result.error is None else ():
            if not (error := result.max_error[key]) <= limit:
                if result.dtype != "float32" or result.shape_errors or key not in reference:
                    return None
                beyond.append((key, error / limit))
    if not beyond:
        return None
    noise = np.random.default_rng(0).standard_normal(images.shape)
    changed = again(images * (1 + CHANGE * noise))
    times = {tap: relative_error(changed[tap], reference[tap]) / CHANGE for tap in reference}
    explained = all(multiple <= times[tap] for tap, multiple in beyond)
    tap = max(times, key=times.__getitem__)
    return (tap, times[tap]) if explained and times[tap] >= WORTH else None
