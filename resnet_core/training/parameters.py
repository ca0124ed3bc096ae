"""How a network is trained, layer by layer: what is frozen, what decays, its learning rate, in which dtype."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from resnet_core.analysis import Network, tensors
from resnet_core.architecture import layer_tree
from resnet_core.errors import RecipeError
from resnet_core.fields import refuse
from resnet_core.precision import convolving_in
from resnet_core.specification import ResNetSpec
from resnet_core.training.recipe import Recipe
from resnet_core.tree import Chain

#: The part that is everything but the head.
BACKBONE = "backbone"


class Treatment(NamedTuple):
    """How the optimizer treats a parameter: its weight `decay`, and the factor `rate` of the step's learning rate."""

    decay: float
    rate: float


def treatments(network: Network, recipe: Recipe) -> dict[str, Treatment]:
    """{parameter: Treatment} of those that are trained, in tree order; frozen ones are left out.

    The innermost part that `rates` names decides. Raises RecipeError if `freeze` or `rates` name what is no part of
    the network, or if nothing is left to train.
    """
    frozen, rates = frozen_layers(network, recipe), dict(recipe.rates)
    _require_parts(network, "rates", rates)
    found = {}
    for name, tensor in tensors(network).items():
        layer = name.rpartition(".")[0]
        if tensor.role == "statistic" or layer in frozen:
            continue
        innermost = max((part for part in rates if within(layer, part)), key=_depth, default=None)
        found[name] = Treatment(
            decay=recipe.weight_decay if recipe.decay_all or tensor.role == "kernel" else 0.0,
            rate=1.0 if innermost is None else rates[innermost],
        )
    if not found:
        refuse("freeze", recipe.freeze, "a list of parts that leaves something to train", RecipeError)
    return found


def frozen_layers(network: Network, recipe: Recipe) -> frozenset[str]:
    """Paths of the frozen layers: their parameters stay, and their norms compute as in evaluation mode.

    Raises RecipeError if `freeze` names what is no part of the network.
    """
    _require_parts(network, "freeze", recipe.freeze)
    layers = {name.rpartition(".")[0] for name in tensors(network)}
    return frozenset(layer for layer in layers if any(within(layer, part) for part in recipe.freeze))


def trained_tree(spec: ResNetSpec, recipe: Recipe, dtype: str) -> Chain:
    """The layer tree of a network of this dtype as the recipe trains it: its convolutions may compute in another.

    Raises RecipeError for a float64 network that would: float64 is for proofs.
    """
    if recipe.convolution_dtype is not None and dtype != "float32":
        refuse("convolution_dtype", recipe.convolution_dtype, f"none in {dtype}; train in float32", RecipeError)
    return convolving_in(layer_tree(spec), recipe.convolution_dtype)


def within(layer: str, part: str) -> bool:
    """Whether a layer belongs to a part of the network; both are dotted paths, or the part is `BACKBONE`."""
    if part == BACKBONE:
        return not within(layer, "head")
    return layer == part or layer.startswith(f"{part}.")


def _depth(part: str) -> int:
    return 0 if part == BACKBONE else 1 + part.count(".")


def _require_parts(network: Network, field: str, parts: Iterable[str]) -> None:
    layers = [name.rpartition(".")[0] for name in tensors(network)]
    for part in parts:
        if not any(within(layer, part) for layer in layers):
            top = dict.fromkeys(layer.partition(".")[0] for layer in layers)
            allowed = (
                f"{BACKBONE} (all but the head), {', '.join(top)}, or a path inside one of them such as {layers[-2]}"
            )
            refuse(field, part, allowed, RecipeError)
