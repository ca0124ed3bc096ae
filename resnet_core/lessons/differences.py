"""What separates the frameworks: each default, how every program here says the number instead, and the damage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnet_core.lessons.columns import Column, Line


@dataclass(frozen=True, slots=True)
class Topic:
    """A difference: what each framework does if it is left alone, what goes wrong, and the lines that say it here.

    `words` finds those lines. What `alone` says of numbers and padding, a test asks the frameworks themselves.
    """

    key: str
    title: str
    alone: Mapping[str, str]
    mistake: str
    words: str


TOPICS = (
    Topic(
        "padding",
        "Padding of a strided convolution",
        {
            "torch": "pads nothing; told a number, both sides alike",
            "keras": "“valid”, nothing; “same” pads more behind the image",
            "flax": "“SAME”, which pads more behind the image",
        },
        "“same” where both sides were padded alike: every window of a strided convolution moves by a pixel.",
        r"(?<![.\w])padding\b(?!\))|ZeroPadding2D|np\.pad\(x, \(\(0, 0\), \(padding",
    ),
    Topic(
        "pool",
        "Padding of the max-pool",
        {
            "torch": "nothing; told a number, both sides alike",
            "keras": "“valid”, nothing; “same” pads more behind the image",
            "flax": "“VALID”, nothing; “SAME” pads more behind the image",
        },
        "The other of the two rules for the max-pool: its windows move by a pixel.",
        r"MaxPool\w*\(|max_pool\(|same_pool|inf\b|windows",
    ),
    Topic(
        "epsilon",
        "Epsilon of the norm",
        {"torch": "1e-5", "keras": "1e-3", "flax": "1e-5"},
        "Keras' 1e-3 in every batch norm.",
        r"\beps(ilon)?=|running_var\"\] \+|\+ 1e-",
    ),
    Topic(
        "momentum",
        "Momentum of the running statistics",
        {
            "torch": "0.1, the weight of the new batch",
            "keras": "0.99, the weight of the old value",
            "flax": "0.99, the weight of the old value",
        },
        "The same number under the other convention: one step of training, then evaluation.",
        r"\bmomentum=|Momentum weighs",
    ),
    Topic(
        "variance",
        "Variance that is remembered",
        {
            "torch": "unbiased: n / (n − 1) times the batch's",
            "keras": "biased: the batch's own",
            "flax": "biased, by E[x²] − E[x]² unless told otherwise",
        },
        "The biased variance in the running statistics: one step of training, then evaluation.",
        r"running variance|[Ff]ast.variance",
    ),
    Topic(
        "layout",
        "Layout of kernels",
        {
            "torch": "out, in, height, width",
            "keras": "height, width, in, out",
            "flax": "height, width, in, out",
            "numpy": "as in PyTorch, here",
        },
        "Height and width exchanged on the way from one layout to the other: every shape still fits.",
        r"transpose\(|\(out, in|Images \(batch|bhwcij",
    ),
    Topic(
        "flip",
        "What is called a convolution",
        {
            "torch": "cross-correlation",
            "keras": "cross-correlation",
            "flax": "cross-correlation",
            "numpy": "np.convolve flips the kernel; einsum here does not",
        },
        "Kernels turned by 180 degrees, as in the textbook's definition.",
        r"einsum\(",
    ),
    Topic(
        "stride",
        "Where a bottleneck strides",
        {
            "torch": "torchvision: in the 3 × 3",
            "keras": "keras.applications: in the first 1 × 1",
            "flax": "its ImageNet example: in the 3 × 3",
        },
        "The stride in the other of the two convolutions: no shape and no weight changes.",
        r"conv2\b.*stride|conv1\b.*stride",
    ),
    Topic(
        "gelu",
        "GELU",
        {"torch": "exact, with erf", "keras": "exact, with erf", "flax": "approximate, with tanh"},
        "The approximation with tanh.",
        r"gelu|GELU|erf",
    ),
    Topic("channels", "Channels of zeros", {}, "All new channels at the end, where half belong before.", r"margin"),
    Topic("dilation", "Dilation", {}, "No dilation, where a stage keeps its map.", r"dilation"),
    Topic("standardization", "Standardized kernels", {}, "Kernels as they are stored.", r"tandardiz"),
    Topic(
        "projection",
        "What a projection reads",
        {},
        "The block's raw input, where the projection should read the activated one.",
        r"shortcut.*\by\b|shortcut_conv|shortcut\.conv",
    ),
    Topic("relu", "The ReLU behind the sum", {}, "No activation behind the sum.", r"relu\(y \+|maximum\(y \+|_relu\d"),
)

#: Rows in which the network itself is said.
_ROWS = ("imports", "run", "training", "initial")


def lines_of(topic: Topic, column: Column) -> list[Line]:
    """The lines of a program that say this, but for what is imported, run or trained."""
    found = (line for piece in column.pieces if piece.row not in _ROWS for line in piece.lines)
    return [line for line in found if re.search(topic.words, line.text)]


def marked(topics: Sequence[Topic], column: Column) -> dict[int, str]:
    """{line: the topics that it says}."""
    found: dict[int, list[str]] = {}
    for topic in topics:
        for line in lines_of(topic, column):
            found.setdefault(line.number, []).append(topic.key)
    return {number: " ".join(keys) for number, keys in found.items()}
