"""What each kind of layer computes, as a formula for maps with rows i, columns j and channels c."""

from __future__ import annotations

from resnet_core import tree
from resnet_core.lessons.mathml import formula, fraction, largest, power, root, row, sub, total
from resnet_core.lessons.texts import Texts

_X = sub("x", "i", ",", "j", ",", "c")
_Y = sub("y", "i", ",", "j", ",", "c")
_WINDOW = sub("x", "s", "i", "+", "d", "u", "−", "p", ",", "s", "j", "+", "d", "v", "−", "p", ",", "c")
_NORMALIZED = formula(
    "y", "=", "γ", fraction(row("x", "−", "μ"), root(row(power("σ", "2"), "+", "ε"))), "+", "β"
)  # fmt: skip
_SIGMOID = fraction("1", row("1", "+", power("e", row("−", "x"))))

#: {kind: formula}; its name and what it computes are texts, `kind.Conv.name` and `kind.Conv.about`.
FORMULAS: dict[type[tree.Node], str] = {
    tree.Conv: formula(
        sub("y", "i", ",", "j", ",", "o"), "=", total(row("u", ",", "v", ",", "c")),
        sub("w", "o", ",", "c", ",", "u", ",", "v"), _WINDOW, "(", "+", sub("b", "o"), ")",
    ),
    tree.BatchNorm: _NORMALIZED + formula("μ", "←", "m", "μ", "+", "(", "1", "−", "m", ")", sub("μ", "batch")),
    tree.FrozenNorm: _NORMALIZED,
    tree.GroupNorm: _NORMALIZED,
    tree.LayerNorm: _NORMALIZED,
    tree.ReLU: formula("y", "=", "max", "(", "x", ",", "0", ")"),
    tree.Activation: "",
    tree.MaxPool: formula(_Y, "=", largest(row("u", ",", "v")), _WINDOW),
    tree.AveragePool: formula(_Y, "=", fraction("1", power("k", "2")), total(row("u", ",", "v")), _WINDOW),
    tree.BlurPool: formula("k", "=", fraction("1", "4"), "(", "1", ",", "2", ",", "1", ")"),
    tree.Pad: "",
    tree.Subsample: formula(_Y, "=", sub("x", "s", "i", ",", "s", "j", ",", "c")),
    tree.PadChannels: "",
    tree.GlobalAveragePool: formula(
        sub("y", "c"), "=", fraction("1", row("H", "W")), total(row("i", ",", "j")), _X
    ),
    tree.GlobalMaxPool: formula(sub("y", "c"), "=", largest(row("i", ",", "j")), _X),
    tree.GlobalConcatPool: "",
    tree.ChannelConv: "",
    tree.Dropout: "",
    tree.DropPath: "",
    tree.Linear: formula(
        sub("y", "o"), "=", total("c"), sub("w", "o", ",", "c"), sub("x", "c"), "+", sub("b", "o")
    ),
    tree.Gate: formula(_Y, "=", sub("g", "c"), _X),
    tree.Residual: formula("y", "=", "F", "(", "x", ")", "+", "x"),
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


def idea(plain: bool, preactivation: bool, texts: Texts) -> str:
    """The residual idea in a few sentences."""
    residual, this = f"<em>{texts.html('idea.residual')}</em>", f"<strong>{texts.html('idea.this_is_plain')}</strong>"
    intro = f"<p>{texts.html('idea.deeper', residual=residual)}</p>"
    forward = formula("y", "=", "F", "(", "x", ")", "+", "x")
    slope = formula(
        fraction(row("∂", "L"), row("∂", "x")), "=", fraction(row("∂", "L"), row("∂", "y")),
        row("(", "1", "+", fraction(row("∂", "F"), row("∂", "x")), ")"),
    )  # fmt: skip
    gradient = f"<p>{texts.html('idea.backward')}</p>"
    own = f"<p>{texts.html('idea.plain', this=this)}</p>" * plain
    order = f"<p>{texts.html('idea.preactivation')}</p>" if preactivation else ""
    return f"<div>{intro}{forward}</div><div>{gradient}{slope}{own}{order}</div>"
