"""A layer in a few words."""

from __future__ import annotations

from resnet_core.tree import (
    Activation,
    AveragePool,
    BatchNorm,
    BlurPool,
    ChannelConv,
    Conv,
    Dropout,
    DropPath,
    FrozenNorm,
    GroupNorm,
    LayerNorm,
    Leaf,
    Linear,
    MaxPool,
    Pad,
    PadChannels,
    Subsample,
)


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
            notes += ["standardized"] if leaf.standardize is not None else []
        case BatchNorm() | FrozenNorm() | GroupNorm() | LayerNorm():
            notes = _norm_notes(leaf) if settings else []
        case Activation():
            notes = [leaf.function]
        case MaxPool() | AveragePool():
            kind += f" {leaf.kernel[0]}x{leaf.kernel[1]}"
            notes = [f"stride {leaf.stride[0]}"]
            notes += ["same"] if leaf.padding == "same" else []
            notes += _pool_notes(leaf) if isinstance(leaf, AveragePool) else []
        case BlurPool():
            notes = [f"stride {leaf.stride[0]}"]
            notes += [f"dilation {leaf.dilation[0]}"] if leaf.dilation != (1, 1) else []
        case Pad():
            notes = [f"{leaf.padding[0][0]} of zeros"]
        case Subsample():
            notes = [f"stride {leaf.stride[0]}"]
        case PadChannels():
            notes = [f"{leaf.before} before", f"{leaf.after} after"]
        case ChannelConv():
            notes = [f"{leaf.kernel} channels"]
        case Dropout() | DropPath():
            notes = [f"rate {leaf.rate:.3g}"]
        case Linear():
            notes = ["at every position"] if leaf.dense else []
            notes += [] if leaf.bias else ["no bias"]
        case _:
            notes = []
    return ", ".join((kind, *notes))


def _norm_notes(leaf: BatchNorm | FrozenNorm | GroupNorm | LayerNorm) -> list[str]:
    notes = [f"{leaf.groups} groups"] if isinstance(leaf, GroupNorm) else []
    notes += [f"epsilon {leaf.epsilon:g}"]
    return [*notes, f"decay {leaf.decay:g}"] if isinstance(leaf, BatchNorm) else notes


def _pool_notes(leaf: AveragePool) -> list[str]:
    notes = [f"dilation {leaf.dilation[0]}"] if leaf.dilation != (1, 1) else []
    return [*notes, "partial windows"] if leaf.partial else notes
