"""From trained weights to those of the deploy form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from resnet_core.analysis import state
from resnet_core.architecture import layer_tree
from resnet_core.errors import InputError
from resnet_core.folding import fold_weights, unfold_weights
from resnet_core.spec_files import Source
from resnet_core.spec_files import spec as read_spec
from resnet_core.specification import ResNetSpec
from resnet_core.tree import BatchNorm, FrozenNorm, leaves
from resnet_core.weights import Weights, check_weights


def deploy(weights: Mapping[str, np.ndarray], spec: Source) -> tuple[Weights, ResNetSpec]:
    """(weights, spec) of the same network for inference: its norms folded into its convolutions (`deploy_form`).

    The spec is the given one with `deploy = true`. Computed in float64 and rounded to the weights' own dtype. What is
    in deploy form already stays as it is. Raises WeightsError for weights of another network.

    >>> import resnet_core as rn
    >>> spec = rn.spec("resnet18")
    >>> weights, folded = rn.deploy(rn.initialize(spec), spec)
    >>> [name for name in weights if name.startswith("stem")]
    ['stem.conv.weight', 'stem.conv.bias']
    """
    spec = read_spec(spec)
    checked = check_weights(weights, state(spec))
    if spec.deploy:
        return checked, spec
    folded = replace(spec, deploy=True)
    return check_weights(fold_weights(layer_tree(spec), checked), state(folded)), folded


def undeploy(weights: Mapping[str, np.ndarray], spec: ResNetSpec) -> tuple[Weights, ResNetSpec]:
    """The other way: (weights, spec) of the same network with norms, which only add what the convolutions added.

    For programs that know no other form. Raises WeightsError for weights of another network, InputError where kernels
    were standardized, which cannot be undone.
    """
    checked = check_weights(weights, state(spec))
    if not spec.deploy:
        return checked, spec
    if spec.standardize_weights:
        raise InputError("deploy: received true with standardize_weights = true; the kernels before that are not kept")
    normed = replace(spec, deploy=False)
    return check_weights(unfold_weights(layer_tree(normed), checked), state(normed)), normed


def what_folds(spec: ResNetSpec, folded: ResNetSpec) -> list[str]:
    """What is rewritten between a network and its deploy form, in sentences."""
    if spec.deploy == folded.deploy:
        return []
    norms = [
        sum(isinstance(leaf, BatchNorm | FrozenNorm) for _, leaf in leaves(layer_tree(form))) for form in (spec, folded)
    ]
    told = [f"{norms[0] - norms[1]} norms folded into convolutions"] if norms[0] > norms[1] else []
    return [*told, "standardized kernels stored as they compute"] if spec.standardize_weights else told
