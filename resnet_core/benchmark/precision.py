"""In what a contestant computes: a model's dtype, or that of its convolutions alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnet_core.precision import ConvolutionDtype, convolving_in
from resnet_core.tree import Chain
from resnet_core.weights import HALF


@dataclass(frozen=True)
class Precision:
    """What a model is made in: its dtype, and that of its convolutions if they have their own."""

    dtype: str
    convolution_dtype: ConvolutionDtype | None = None

    @property
    def reduced(self) -> str | None:
        """The dtype below float32 in which a single convolution computes; None where float32 is the process' own."""
        return self.convolution_dtype or (self.dtype if self.dtype in HALF else None)

    def model(self, backend: Any, tree: Chain, channels: int, weights: Mapping[str, np.ndarray]) -> Any:
        """The backend's model of a tree in it."""
        tree = convolving_in(tree, self.convolution_dtype)
        return backend.build_tree(tree, channels=channels, weights=weights, dtype=self.dtype)


FLOAT32 = Precision("float32")
