"""Every leaf and combinator of the layer tree in trees of a few layers, made by hand.

A convolution stands before the leaf, so that a gradient has to pass it, and a leaf with tensors also stands first.
"""

from __future__ import annotations

from typing import get_args

from resnet_core import tree
from resnet_core.conformance.subjects import Subject
from resnet_core.padding import symmetric
from resnet_core.tree import (
    Activation,
    AveragePool,
    BatchNorm,
    BlurPool,
    Chain,
    ChannelConv,
    Combinator,
    Conv,
    Dropout,
    DropPath,
    FrozenNorm,
    Function,
    Gate,
    GlobalAveragePool,
    GlobalConcatPool,
    GlobalMaxPool,
    GroupNorm,
    LayerNorm,
    Leaf,
    Linear,
    MaxPool,
    Node,
    Pad,
    PadChannels,
    ReLU,
    Residual,
    Subsample,
    walk,
)

CHANNELS = 4
SIZE = (9, 8)
#: Where "same" padding is uneven depends on the size: there either side is once odd and once even.
OTHER = (8, 11)

_BEFORE = Conv(CHANNELS, CHANNELS, (3, 3), padding=symmetric(3))
_NORM = BatchNorm(CHANNELS, 1e-5, 0.9)
_PRE = (("norm1", _NORM), ("relu1", ReLU()))
_BODY = (("conv1", Conv(CHANNELS, 6, (3, 3), (2, 2), symmetric(3))), ("norm2", BatchNorm(6, 1e-3, 0.95)))
_SHORTCUT = (("conv", Conv(CHANNELS, 6, (1, 1), (2, 2), bias=True)), ("norm", BatchNorm(6, 1e-5, 0.9)))
_SAME_SIZE = (("conv1", Conv(CHANNELS, CHANNELS, (3, 3), padding=symmetric(3))), ("norm1", _NORM))
_AFTER = (("relu2", ReLU()),)

_SQUEEZE, _SIGMOID = ("pool", GlobalAveragePool()), ("sigmoid", Activation("sigmoid"))
_EXPAND = Linear(2, CHANNELS)
_GATE = Gate(Chain((_SQUEEZE, ("reduce", Linear(CHANNELS, 2)), ("relu", ReLU()), ("expand", _EXPAND), _SIGMOID)))
_CHANNEL_GATE = Gate(Chain((_SQUEEZE, ("conv", ChannelConv(3)), _SIGMOID)))

_NODES: dict[str, Node | tuple[tuple[str, Node], ...]] = {
    "convolution": Conv(CHANNELS, 6, (3, 3), padding=symmetric(3)),
    "convolution, bias": Conv(CHANNELS, 6, (3, 3), padding=symmetric(3), bias=True),
    "convolution, 1x1 at stride 2": Conv(CHANNELS, 6, (1, 1), (2, 2)),
    "convolution, no padding": Conv(CHANNELS, 6, (3, 3)),
    "convolution, even padding at stride 2": Conv(CHANNELS, 6, (3, 3), (2, 2), symmetric(3)),
    "convolution, uneven padding": Conv(CHANNELS, 6, (3, 2), (2, 1), ((1, 0), (0, 2))),
    "convolution, same": Conv(CHANNELS, 6, (3, 3), padding="same"),
    "convolution, same at stride 2": Conv(CHANNELS, 6, (3, 3), (2, 2), "same"),
    "convolution, same at strides (2, 3), even kernel": Conv(CHANNELS, 6, (4, 5), (2, 3), "same"),
    "convolution, dilated": Conv(CHANNELS, 6, (3, 3), padding=symmetric(3, 2), dilation=(2, 2)),
    "convolution, dilation (1, 2), same": Conv(CHANNELS, 6, (3, 3), padding="same", dilation=(1, 2)),
    "convolution, groups": Conv(CHANNELS, 6, (3, 3), padding=symmetric(3), groups=2, bias=True),
    "convolution, depthwise at stride 2": Conv(CHANNELS, CHANNELS, (3, 3), (2, 2), symmetric(3), groups=CHANNELS),
    "convolution, standardized": Conv(CHANNELS, 6, (3, 3), padding=symmetric(3), bias=True, standardize=1e-3),
    "convolution, standardized groups at stride 2": Conv(CHANNELS, 6, (3, 3), (2, 2), groups=2, standardize=1e-8),
    "norm": _NORM,
    "norm, other epsilon and decay": BatchNorm(CHANNELS, 0.1, 0.5),
    "frozen norm": FrozenNorm(CHANNELS, 1e-3),
    "group norm": GroupNorm(CHANNELS, 2, 1e-5),
    "group norm, one group": GroupNorm(CHANNELS, 1, 1e-2),
    "layer norm": LayerNorm(CHANNELS, 1e-3),
    "relu": ReLU(),
    **{function.replace("_", " "): Activation(function) for function in get_args(Function)},
    "max-pool, no padding": MaxPool((2, 2), (2, 2)),
    "max-pool, even padding": MaxPool((3, 3), (2, 2), symmetric(3)),
    "max-pool, uneven padding": MaxPool((3, 2), (1, 2), ((0, 1), (1, 0))),
    "max-pool, same": MaxPool((3, 3), (2, 2), "same"),
    "max-pool, same at strides (3, 2)": MaxPool((4, 3), (3, 2), "same"),
    "average pool": AveragePool((2, 2), (2, 2)),
    "average pool, overlapping": AveragePool((3, 2), (1, 2)),
    "average pool, partial": AveragePool((2, 2), (2, 2), partial=True),
    "average pool, partial at stride 3": AveragePool((2, 2), (3, 3), partial=True),
    "average pool, partial, dilated": AveragePool((2, 2), (1, 1), (2, 2), partial=True),
    "average pool, partial, dilated at stride 2": AveragePool((2, 2), (2, 2), (3, 3), partial=True),
    "average pool, partial, dilated beyond the map": AveragePool((2, 2), (1, 1), (12, 3), partial=True),
    "blur": BlurPool((2, 2)),
    "blur at stride 1": BlurPool((1, 1)),
    "blur, dilated": BlurPool((1, 1), (2, 2)),
    "blur, dilated at stride 2": BlurPool((2, 2), (3, 3)),
    "pad": Pad(((1, 2), (0, 3))),
    "subsample": Subsample((2, 2)),
    "subsample (2, 3)": Subsample((2, 3)),
    "channel padding": PadChannels(1, 3),
    "channel padding, one side": PadChannels(0, 2),
    "global average pool": GlobalAveragePool(),
    "global max-pool": GlobalMaxPool(),
    "global average and max-pool": GlobalConcatPool(),
    "channel convolution": (("pool", GlobalAveragePool()), ("conv", ChannelConv(3))),
    "dropout": Dropout(0.5),
    "dropout of a vector": (("pool", GlobalAveragePool()), ("dropout", Dropout(0.5))),
    "drop path": DropPath(0.5),
    "linear": (("pool", GlobalAveragePool()), ("linear", Linear(CHANNELS, 5))),
    "linear, no bias": (("pool", GlobalAveragePool()), ("linear", Linear(CHANNELS, 5, bias=False))),
    "linear, dense": Linear(CHANNELS, 5, dense=True),
    "linear, dense, no bias": Linear(CHANNELS, 5, bias=False, dense=True),
    "chain": Chain((("conv", Conv(CHANNELS, 6, (1, 1))), ("inner", Chain((("relu", ReLU()),))))),
    "chain, empty": Chain(),
    "gate, squeeze and excitation": _GATE,
    "gate, channel convolution": _CHANNEL_GATE,
    "residual, gate": Residual(
        Chain(), Chain((*_SAME_SIZE, ("se", _GATE), ("drop", DropPath(0.5)))), Chain(), Chain(_AFTER)
    ),
    "residual, all parts": Residual(Chain(_PRE), Chain(_BODY), Chain(_SHORTCUT), Chain(_AFTER)),
    "residual, no shortcut": Residual(Chain(), Chain(_SAME_SIZE), Chain(), Chain(_AFTER)),
    "residual, body alone": Residual(Chain(), Chain(_SAME_SIZE), Chain(), Chain()),
    "residual, empty body": Residual(Chain(_PRE), Chain(), Chain(_SAME_SIZE), Chain(_AFTER)),
}


def _subject(name: str, *, first: bool = False) -> Subject:
    node, sizes = _NODES[name], (SIZE, OTHER) if any(word in name for word in ("same", "partial", "blur")) else (SIZE,)
    named = node if isinstance(node, tuple) else (("node", node),)
    return Subject(Chain(named if first else (("before", _BEFORE), *named)), CHANNELS, sizes)


#: {name: the leaf or combinator behind a convolution, or where it says so as the first of the tree}.
LEAVES: dict[str, Subject] = {
    **{name: _subject(name) for name in _NODES},
    **{f"{name}, first": _subject(name, first=True) for name in ("convolution, same at stride 2", "norm")},
}


def without_a_case() -> set[str]:
    """Names of the kinds of nodes in `tree.py` that no subject has: a leaf that is added needs one."""
    found = {type(node) for subject in LEAVES.values() for _, node in walk(subject.tree)}
    kinds = {kind for kind in vars(tree).values() if isinstance(kind, type) and issubclass(kind, Leaf | Combinator)}
    return {kind.__name__ for kind in kinds - found - {Leaf, Combinator}}
