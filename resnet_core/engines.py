"""What several backends say to an engine that they share: XLA, which JAX brings, for Flax and for Keras on JAX."""

from __future__ import annotations

import os
from importlib import metadata

#: Versions of jaxlib that know the option, from and below; XLA ends the process at one that it does not know.
KNOWN = ((0, 9), (0, 13))

#: XLA's CPU backend hands convolutions, products and sums to YNNPACK. Without it ResNet-50 computes 1.6 times as fast
#: and trains twice as fast (jaxlib 0.10.2), and sums are right, which YNNPACK's are not on some machines (jax#39103).
_NO_OFFLOAD = "--xla_cpu_experimental_ynn_fusion_type="


def tell_xla() -> None:
    """Extend `XLA_FLAGS` by what the installed jaxlib knows; before JAX has begun, or it has no effect.

    What the user has set comes behind, and so goes before.
    """
    version = tuple(int(part) for part in metadata.version("jaxlib").split(".")[:2])
    given = os.environ.get("XLA_FLAGS", "")
    if KNOWN[0] <= version < KNOWN[1] and _NO_OFFLOAD not in given:
        os.environ["XLA_FLAGS"] = f"{_NO_OFFLOAD} {given}".strip()
