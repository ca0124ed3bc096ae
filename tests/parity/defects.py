"""Planted defects: what a wrong backend would do. Imported in worker processes and by the tests.

A tree defect changes the layer tree that the backend lowers, a weight defect the weights it is given, as a
wrong mapping would; the core's truth stays as it is. Most are those of the conformance kit.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np

from resnet_core import architecture, tree
from resnet_core.conformance.changes import TREE_CHANGES, WEIGHT_CHANGES, every
from resnet_core.weights import Weights


def plant(session: Any, arrays: Any, *, name: str | None) -> tuple[None, None]:
    """Let the worker's backend lower a wrong tree from now on, or with None the right one again."""
    model = importlib.import_module(f"{session.backend.__name__}.model")
    change = TREE_DEFECTS[name] if name else lambda root: root
    model.layer_tree = lambda spec: change(architecture.layer_tree(spec))
    return None, None


def plant_biased_variance(session: Any, arrays: Any, *, planted: bool) -> tuple[None, None]:
    """Leave the running variance as the framework updates it."""
    from resnet_core.training.running_variance import unbiased_variances

    differentiation = importlib.import_module(f"{session.backend.__name__}.differentiation")
    differentiation.unbiased_variances = (lambda *arguments: {}) if planted else unbiased_variances
    return None, None


def _other_convolution(block: tree.Residual) -> tree.Node:
    """Move the stride of a bottleneck from its 3x3 to its first 1x1."""
    body = dict(block.body.children)
    first, second = body["conv1"], body["conv2"]
    assert isinstance(first, tree.Conv)
    assert isinstance(second, tree.Conv)
    body["conv1"], body["conv2"] = replace(first, stride=second.stride), replace(second, stride=(1, 1))
    return replace(block, body=tree.Chain(tuple(body.items())))


#: Name to (what it does to the tree). Each is caught in `test_defects.py` on the spec given there.
TREE_DEFECTS = {**TREE_CHANGES, "stride on the other convolution": every(tree.Residual, _other_convolution)}


def _norms(weights: Weights, suffix: str, value: float) -> Weights:
    return {name: np.full_like(w, value) if name.endswith(suffix) else w for name, w in weights.items()}


def _shuffled_groups(weights: Weights) -> Weights:
    """Output channels dealt over the groups in the wrong order (width 4 groups apart)."""
    return {
        name: np.ascontiguousarray(w.reshape(8, -1, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape))
        if name.endswith("conv2.weight")
        else w
        for name, w in weights.items()
    }


WEIGHT_DEFECTS = {
    **WEIGHT_CHANGES,
    "lost running mean": lambda weights: _norms(weights, "running_mean", 0.0),
    "lost running variance": lambda weights: _norms(weights, "running_var", 1.0),
    "lost convolution bias": lambda weights: {
        name: np.zeros_like(w) if ".conv" in name and name.endswith("bias") else w for name, w in weights.items()
    },
    "groups dealt in the wrong order": _shuffled_groups,
}
