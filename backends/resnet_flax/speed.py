"""A network for inference alone, as fast as JAX computes it."""

from __future__ import annotations

from resnet_core.folding import folded
from resnet_flax.inference import evaluating
from resnet_flax.model import ResNet, build_tree
from resnet_flax.weights import get_weights, model_dtype


def fast(model: ResNet, *, compiled: bool = True) -> ResNet:
    """Norms folded. JAX compiles every model at its first prediction, so that `compiled` changes nothing."""
    tree, weights = folded(model.tree, get_weights(model), dict(model.taps))
    if tree is model.tree:
        return evaluating(model)
    taps, dtype = tuple(name for name, _ in model.taps), model_dtype(model)
    return evaluating(build_tree(tree, channels=model.channels, weights=weights, taps=taps, dtype=dtype))
