"""timm's names, said in this project's: resnet.py, resnetv2.py and byobnet.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from resnet_core.weights import Weights

#: A pattern of timm's and what it is here; the first that matches is taken.
_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"conv1\.0", "stem.conv1"),
    (r"conv1\.1", "stem.norm1"),
    (r"conv1\.3", "stem.conv2"),
    (r"conv1\.4", "stem.norm2"),
    (r"conv1\.6", "stem.conv3"),
    (r"conv1", "stem.conv"),
    (r"maxpool\.0", "stem.pool_conv"),
    (r"maxpool\.\d", "stem.pool_norm"),
    (r"stem\.(conv|norm)(\d?)", r"stem.\1\2"),
    (r"stem\.conv(\d)\.conv", r"stem.conv\1"),
    (r"stem\.conv(\d)\.bn", r"stem.norm\1"),
    (r"layer(\d)\.(\d+)\.(.+)", lambda match: _block(int(match[1]), *match.group(2, 3))),
    (r"stages\.(\d)(?:\.blocks)?\.(\d+)\.(.+)", lambda match: _block(int(match[1]) + 1, *match.group(2, 3))),
    (r"norm", "head.norm"),
    (r"final_conv\.conv", "head.conv"),
    (r"final_conv\.bn", "head.norm"),
    (r"(?:head\.)?fc", "head.linear"),
)
_LAYERS = (
    (r"bn(\d)", r"norm\1"),
    (r"(conv|norm)(\d)", r"\1\2"),
    (r"conv(\d)_(?:1x1|kxk)\.conv", r"conv\1"),
    (r"conv(\d)_(?:1x1|kxk)\.bn", r"norm\1"),
    (r"(?:se|attn)\.fc1", "se.reduce"),
    (r"(?:se|attn)\.fc2", "se.expand"),
    (r"se\.conv", "eca.conv"),
    (r"(?:downsample|shortcut)\.(?:conv)", "shortcut.conv"),
    (r"(?:downsample|shortcut)\.(?:bn|norm)", "shortcut.norm"),
)


def from_timm(state: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> Weights:
    """The state of one of timm's networks, under the neutral names that are `wanted` and in their shapes."""
    deep = "conv1.6.weight" in state
    downsamples = {name: value.ndim for name, value in state.items() if ".downsample." in name}
    renamed = {}
    for name, value in state.items():
        layer, _, leaf = name.rpartition(".")
        if layer == "bn1":
            place = "stem.norm3" if deep else "stem.norm"
        elif numbered := re.fullmatch(r"(.*)\.downsample\.\d", layer):
            kind = "conv" if downsamples[f"{layer}.weight"] == 4 else "norm"
            place = _said(f"{numbered[1]}.downsample.{kind}", _NAMES)
        else:
            place = _said(layer, _NAMES)
        renamed[f"{place}.{leaf}"] = value
    # A linear layer may be a convolution of 1x1 there.
    return {name: renamed.pop(name).reshape(shape) for name, shape in wanted.items()} | renamed


def _said(name: str, names: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]) -> str:
    for pattern, meaning in names:
        if match := re.fullmatch(pattern, name):
            return meaning(match) if callable(meaning) else match.expand(meaning)
    raise KeyError(name)


def _block(stage: int, block: str, layer: str) -> str:
    return f"stage{stage}.block{int(block) + 1}.{_said(layer, _LAYERS)}"
