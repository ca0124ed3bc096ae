"""What each kind of layer computes: a sentence and a formula, for maps with rows i, columns j and channels c."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.lessons.mathml import formula, fraction, largest, power, root, row, sub, total

_X = sub("x", "i", ",", "j", ",", "c")
_Y = sub("y", "i", ",", "j", ",", "c")
_WINDOW = sub("x", "s", "i", "+", "d", "u", "−", "p", ",", "s", "j", "+", "d", "v", "−", "p", ",", "c")
_NORMALIZED = formula(
    "y", "=", "γ", fraction(row("x", "−", "μ"), root(row(power("σ", "2"), "+", "ε"))), "+", "β"
)  # fmt: skip
_SIGMOID = fraction("1", row("1", "+", power("e", row("−", "x"))))

#: {kind: (name, sentence, formula)}.
FORMULAS: dict[type[tree.Node], tuple[str, str, str]] = {
    tree.Conv: (
        "Convolution",
        "A window slides over the map with stride s, dilation d and padding p; each output channel o is a weighted sum "
        "of everything in the window. Parameters count once, whatever the size of the map; multiply-accumulates count "
        "at every position.",
        formula(
            sub("y", "i", ",", "j", ",", "o"), "=", total(row("u", ",", "v", ",", "c")),
            sub("w", "o", ",", "c", ",", "u", ",", "v"), _WINDOW, "(", "+", sub("b", "o"), ")",
        ),
    ),
    tree.BatchNorm: (
        "Batch normalization",
        "Each channel gets mean 0 and variance 1, then a scale and a shift that are learned. In training, mean and "
        "variance are those of the batch, and the running ones follow with the decay m; in evaluation the running ones "
        "are used.",
        _NORMALIZED + formula("μ", "←", "m", "μ", "+", "(", "1", "−", "m", ")", sub("μ", "batch")),
    ),
    tree.FrozenNorm: ("Frozen normalization", "Batch normalization in evaluation: nothing here learns.", _NORMALIZED),
    tree.GroupNorm: (
        "Group normalization",
        "Mean and variance are those of one image, over all positions and the channels of a group: the same in "
        "training and in evaluation.",
        _NORMALIZED,
    ),
    tree.LayerNorm: ("Layer normalization", "Mean and variance of the channels at one position.", _NORMALIZED),
    tree.ReLU: (
        "ReLU",
        "Negative values become zero. Its slope is 1 or 0, so that gradients pass undiminished where it is open.",
        formula("y", "=", "max", "(", "x", ",", "0", ")"),
    ),
    tree.Activation: ("Activation", "A function of each value on its own.", ""),
    tree.MaxPool: (
        "Max-pool",
        "The largest value of each window; the padding is minus infinity, so that it never wins.",
        formula(_Y, "=", largest(row("u", ",", "v")), _WINDOW),
    ),
    tree.AveragePool: (
        "Average pool",
        "The mean of each window.",
        formula(_Y, "=", fraction("1", power("k", "2")), total(row("u", ",", "v")), _WINDOW),
    ),
    tree.BlurPool: (
        "Blur",
        "Weights 1, 2, 1 in both directions before pixels are skipped, so that a shift of the image shifts the map.",
        formula("k", "=", fraction("1", "4"), "(", "1", ",", "2", ",", "1", ")"),
    ),
    tree.Pad: ("Padding", "Zeros around the map.", ""),
    tree.Subsample: ("Subsampling", "Every s-th pixel, the first included.", formula(
        _Y, "=", sub("x", "s", "i", ",", "s", "j", ",", "c"))),
    tree.PadChannels: ("Channels of zeros", "New channels that are zero: a shortcut without parameters.", ""),
    tree.GlobalAveragePool: (
        "Global average pool",
        "The mean of each channel over the whole map: what remains of the image is one number a channel.",
        formula(sub("y", "c"), "=", fraction("1", row("H", "W")), total(row("i", ",", "j")), _X),
    ),
    tree.GlobalMaxPool: (
        "Global max-pool",
        "The largest value of each channel.",
        formula(sub("y", "c"), "=", largest(row("i", ",", "j")), _X),
    ),
    tree.GlobalConcatPool: ("Global pools", "The means of all channels, then their largest values.", ""),
    tree.ChannelConv: ("Convolution over channels", "Each channel looks at its neighbors in a vector of means.", ""),
    tree.Dropout: ("Dropout", "In training, values are zero at random; the others grow in return.", ""),
    tree.DropPath: ("Stochastic depth", "In training, a share of the images skips this block.", ""),
    tree.Linear: (
        "Linear layer",
        "Each output is a weighted sum of all channels, and a bias.",
        formula(sub("y", "o"), "=", total("c"), sub("w", "o", ",", "c"), sub("x", "c"), "+", sub("b", "o")),
    ),
    tree.Gate: (
        "Gate",
        "What has been computed is multiplied by one factor for each channel, which the gate computes from the whole "
        "map: between 0 and 1, so that a channel is let through or held back.",
        formula(_Y, "=", sub("g", "c"), _X),
    ),
    tree.Residual: (
        "Sum",
        "What the block has computed is added to its input. Nothing is learned here; every gradient passes.",
        formula("y", "=", "F", "(", "x", ")", "+", "x"),
    ),
}  # fmt: skip


#: {function of an activation: its formula}.
FUNCTIONS = {
    "relu6": formula("relu6", "(", "x", ")", "=", "min", "(", "max", "(", "x", ",", "0", ")", ",", "6", ")"),
    "leaky_relu": formula("leaky", "(", "x", ")", "=", "max", "(", "x", ",", str(tree.NEGATIVE_SLOPE), "x", ")"),
    "silu": formula("silu", "(", "x", ")", "=", "x", _SIGMOID),
    "gelu": formula(
        "gelu", "(", "x", ")", "=", fraction("x", "2"),
        row("(", "1", "+", "erf", fraction("x", root("2")), ")"),
    ),
    "gelu_tanh": formula(
        "gelu", "(", "x", ")", "=", fraction("x", "2"), "(", "1", "+", "tanh", "(", root(fraction("2", "π")), "(", "x",
        "+", "0.044715", power("x", "3"), ")", ")", ")",
    ),
    "hardswish": formula(
        "hardswish", "(", "x", ")", "=", "x", "min", "(", "max", "(", "x", "+", "3", ",", "0", ")", ",", "6", ")", "/",
        "6",
    ),
    "sigmoid": formula("σ", "(", "x", ")", "=", _SIGMOID),
}  # fmt: skip


def idea(plain: bool, preactivation: bool) -> str:
    """The residual idea in a few sentences."""
    intro = (
        "<p>A deeper network could copy a shallower one and let its other layers do nothing, so it should never be "
        "worse. Plain layers learn to do nothing only with difficulty. A residual block begins there: its input is "
        "added to what its layers give, and these learn the <em>residual</em> F, what is to be changed.</p>"
    )
    forward = formula("y", "=", "F", "(", "x", ")", "+", "x")
    slope = formula(
        fraction(row("∂", "L"), row("∂", "x")), "=", fraction(row("∂", "L"), row("∂", "y")),
        row("(", "1", "+", fraction(row("∂", "F"), row("∂", "x")), ")"),
    )  # fmt: skip
    gradient = (
        "<p>Backward, the 1 is a way past the block: the gradient reaches the first layers through the sum, however "
        "many blocks there are and however small the slopes in them.</p>"
    )
    own = "<p><strong>This network is plain</strong>: its blocks have no shortcut, and nothing is added.</p>" * plain
    order = (
        "<p>Here norm and activation come before each convolution, and nothing behind the sum: from block to block the "
        "input travels unchanged.</p>"
        if preactivation
        else ""
    )
    return f"<div>{intro}{forward}</div><div>{gradient}{slope}{own}{order}</div>"
