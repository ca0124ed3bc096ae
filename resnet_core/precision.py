"""Convolutions in another dtype than their network: products of bfloat16 in a network of float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from resnet_core.rewrite import rewrite
from resnet_core.tree import Chain, Conv
from resnet_core.weights import HALF

if TYPE_CHECKING:
    import numpy as np

#: Those in which convolutions of a float32 network may compute.
ConvolutionDtype = Literal["bfloat16"]
CONVOLUTION_DTYPES: tuple[ConvolutionDtype, ...] = get_args(ConvolutionDtype)


def convolving_in(tree: Chain, dtype: ConvolutionDtype | None) -> Chain:
    """The tree whose convolutions compute in `dtype` (`tree.Conv`); None: in the network's own.

    Weights, statistics and what is between two layers stay float32, and so do norms, additions and the linear layer.
    """
    return rewrite(tree, Conv, lambda convolution: replace(convolution, dtype=dtype)) if dtype else tree


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
