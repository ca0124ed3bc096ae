"""The deploy form: what a network computes in evaluation mode, with each norm folded into its convolution.

A norm in evaluation mode is a factor and a term for each channel, and so is a convolution with a bias behind it:
`gamma / sqrt(variance + epsilon)` goes into the kernel and the rest into the bias. Folding a network twice changes
nothing more.

Folded are batch and frozen norms behind a convolution in the same block, also behind a blur, an average pool or a
subsampling between the two, which all keep a factor and a term as they are. A norm in front of a convolution stays, as
in pre-activation blocks: behind it comes an activation. What only training needs is left out, and standardized kernels
are stored as they compute.
"""

from __future__ import annotations

from dataclasses import replace

from resnet_core.rewrite import rewrite
from resnet_core.tree import (
    AveragePool,
    BatchNorm,
    BlurPool,
    Chain,
    Conv,
    Dropout,
    DropPath,
    FrozenNorm,
    Node,
    Subsample,
)

Named = tuple[str, Node]

#: What may stand between a convolution and its norm: means of pixels, and pixels themselves.
BETWEEN = (BlurPool, AveragePool, Subsample)
ONLY_IN_TRAINING = (Dropout, DropPath)


def fold(tree: Chain) -> Chain:
    """The tree in deploy form; its tensors are those of `folding.fold_weights`."""
    return rewrite(tree, Chain, _folded_chain)


def _folded_chain(chain: Chain) -> Chain:
    norms = folded_norms(chain)
    gone = {name for name, _ in norms.values()}
    children: list[Named] = []
    for name, child in chain.children:
        if name in gone or isinstance(child, ONLY_IN_TRAINING):
            continue
        if isinstance(child, Conv):
            child = replace(child, bias=child.bias or name in norms, standardize=None)
        children.append((name, child))
    return chain if tuple(children) == chain.children else Chain(tuple(children))


def folded_norms(chain: Chain) -> dict[str, tuple[str, BatchNorm | FrozenNorm]]:
    """{convolution: (name, norm) that is folded into it}."""
    found: dict[str, tuple[str, BatchNorm | FrozenNorm]] = {}
    convolution: str | None = None
    for name, child in chain.children:
        if isinstance(child, Conv):
            convolution = name
        elif isinstance(child, BatchNorm | FrozenNorm) and convolution is not None:
            found[convolution] = (name, child)
            convolution = None
        elif not isinstance(child, BETWEEN):
            convolution = None
    return found
