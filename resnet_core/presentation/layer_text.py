"""A layer in a few words."""

from __future__ import annotations

from resnet_core.tree import AveragePool, BatchNorm, Conv, Leaf, Linear, MaxPool, Pad, PadChannels, Subsample


def kind_text(leaf: Leaf, *, settings: bool = True) -> str:
    """The kind of a layer, with the numbers that differ from the usual ones; of a norm its settings, if asked for."""
    kind = type(leaf).__name__
    match leaf:
        case Conv():
            kind += f" {leaf.kernel[0]}x{leaf.kernel[1]}"
            notes = [f"stride {leaf.stride[0]}"] if leaf.stride != (1, 1) else []
            notes += [f"dilation {leaf.dilation[0]}"] if leaf.dilation != (1, 1) else []
            notes += [f"{leaf.groups} groups"] if leaf.groups > 1 else []
            notes += ["bias"] if leaf.bias else []
        case BatchNorm():
            notes = [f"epsilon {leaf.epsilon:g}", f"decay {leaf.decay:g}"] if settings else []
        case MaxPool() | AveragePool():
            kind += f" {leaf.kernel[0]}x{leaf.kernel[1]}"
            notes = [f"stride {leaf.stride[0]}"]
            notes += ["same"] if leaf.padding == "same" else []
        case Pad():
            notes = [f"{leaf.padding[0][0]} of zeros"]
        case Subsample():
            notes = [f"stride {leaf.stride[0]}"]
        case PadChannels():
            notes = [f"{leaf.before} before", f"{leaf.after} after"]
        case Linear():
            notes = ["at every position"] if leaf.dense else []
        case _:
            notes = []
    return ", ".join((kind, *notes))
