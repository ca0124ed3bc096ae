"""The part of `forward.py` that runs in a framework's process."""

from __future__ import annotations

from typing import Any

import numpy as np
import usage

import resnet_core as rn
from resnet_core.backend import load_backend
from resnet_core.benchmark.timing import seconds


def measure(
    session: object,
    arrays: object,
    *,
    framework: str,
    spec: str,
    batch: int,
    size: int,
    batches: int,
    burn_in: int,
) -> tuple[dict[str, Any], None]:
    """Seconds of every batch, the burn-in's apart (its first includes the compilation)."""
    backend = load_backend(framework)
    backend.configure(device="cpu")
    network = rn.spec(spec)
    shape = (batch, size, size, network.in_channels)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    call = usage.load(framework).forward(rn.build(network, backend=framework, seed=0), images)
    return {
        "burn_in_seconds": [seconds(call) for _ in range(burn_in)],
        "seconds": [seconds(call) for _ in range(batches)],
        "versions": backend.versions(),
    }, None
