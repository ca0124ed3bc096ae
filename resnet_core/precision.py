"""Convolutions in another dtype than their network: products of bfloat16 in a network of float32."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from resnet_core.rewrite import rewrite
from resnet_core.tree import Chain, Conv

#: Those in which convolutions of a float32 network may compute.
ConvolutionDtype = Literal["bfloat16"]
CONVOLUTION_DTYPES: tuple[ConvolutionDtype, ...] = get_args(ConvolutionDtype)


def convolving_in(tree: Chain, dtype: ConvolutionDtype | None) -> Chain:
    """The tree whose convolutions compute in `dtype` (`tree.Conv`); None: in the network's own.

    Weights, statistics and what is between two layers stay float32, and so do norms, additions and the linear layer.
    """
    return rewrite(tree, Conv, lambda convolution: replace(convolution, dtype=dtype)) if dtype else tree
