"""What those who come from timm call on a model: its features, its head, and where its levels are."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from resnet_core.analysis import WIDE, node_shapes
from resnet_core.errors import InputError
from resnet_core.tap_paths import tap_names
from resnet_core.tree import Chain
from resnet_torch.lowering import DenseLinear

_CLASSIFIER = ("dropout", "linear")
_AFTER_FEATURES = ("pool", *_CLASSIFIER)


class TimmHabits(nn.Module):
    """timm's names (1.0) for the parts of a model that is `stem`, `stage1` … `stageN`, `head`."""

    tree: Chain
    channels: int

    @property
    def num_features(self) -> int:
        """Channels of what `forward_features` returns."""
        return self._channels(_AFTER_FEATURES)

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Of the stem before its pool and of every stage: `num_chs`, `reduction` (the stride) and `module`."""
        shapes = node_shapes(self.tree, (WIDE, WIDE, self.channels))
        levels = [path for tap, path in tap_names(self.tree).items() if tap == "stem_relu" or tap.startswith("stage")]
        return [
            {"num_chs": shapes[path][-1], "reduction": round(WIDE / shapes[path][0]), "module": path} for path in levels
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map (batch, num_features, height, width), before it is pooled."""
        for name, module in self.named_children():
            parts = module.named_children() if name == "head" else [(name, module)]
            for part, inner in parts:
                x = x if name == "head" and part in _AFTER_FEATURES else inner(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The logits of such a map; with `pre_logits`, what the last layer would receive."""
        for name, module in getattr(self, "head", nn.Sequential()).named_children():
            if name in _AFTER_FEATURES and not (pre_logits and name == "linear"):
                x = module(x)
        return x

    def get_classifier(self) -> nn.Module:
        """The last layer; an identity where the network has none."""
        found: nn.Module = getattr(getattr(self, "head", None), "linear", nn.Identity())
        return found

    def reset_classifier(self, num_classes: int) -> None:
        """A new last layer, with PyTorch's initial values; with 0 classes, none.

        As when a part of any model is replaced, `tree` is that of the network as it was built. Raises InputError for a
        network without a head.
        """
        if not hasattr(self, "head"):
            raise InputError("reset_classifier: this network has no head; expected one with a pool or with classes")
        head = self.get_submodule("head")
        kind = nn.Linear if "pool" in dict(head.named_children()) else DenseLinear
        like, width = next(self.parameters()), self._channels(_CLASSIFIER)
        head.linear = kind(width, num_classes, device=like.device, dtype=like.dtype) if num_classes else nn.Identity()

    def _channels(self, without: tuple[str, ...]) -> int:
        """Of what the network computes without these parts of its head."""
        path = ""
        for name, child in self.tree.children:
            parts = [part for part, _ in child.children] if name == "head" and isinstance(child, Chain) else []
            kept = [f"{name}.{part}" for part in parts if part not in without]
            path = name if name != "head" else [path, *kept][-1]
        return node_shapes(self.tree, (WIDE, WIDE, self.channels))[path][-1]
