"""A network from the nodes of a graph, such as an ONNX file: which ResNet it is, and what each of its tensors is.

From kernels, strides and widths follows a spec; that it is this network is then decided node by node
(`graph_matching`). Names in the graph do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from resnet_core.conversion.graph_inference import infer_spec
from resnet_core.conversion.graph_matching import matched
from resnet_core.conversion.graph_parts import fold_standardized
from resnet_core.conversion.graph_steps import Reader, is_step
from resnet_core.conversion.inference import named
from resnet_core.errors import InputError, WeightsError, printable
from resnet_core.specification import ResNetSpec
from resnet_core.weights import Weights

#: What no graph for inference shows, and some network of the zoo has.
_DECAYS = (0.9, 0.99, 0.997)


class GraphNetwork(NamedTuple):
    """A graph that is understood.

    `names` is {neutral name: name in the graph}; with `probabilities`, a softmax follows the logits, which is no part
    of the network.
    """

    spec: ResNetSpec
    weights: Weights
    names: dict[str, str]
    probabilities: bool


def read_graph(graph: Mapping[str, Any], arrays: Mapping[str, np.ndarray], spec: ResNetSpec | None) -> GraphNetwork:
    """The network of a graph as `read_network` describes it. With a `spec`, it must be that one.

    Raises WeightsError, one line, for a graph that is no ResNet of this project, with the node where it stops being
    one, or the fields that it would need.
    """
    try:
        return _read(graph, arrays, spec)
    except InputError as error:  # names in a graph may be anything
        raise WeightsError(printable(str(error))) from error
    except (
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        StopIteration,
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split())[:100]
        raise WeightsError(f"the graph has a node without what such a node has ({reason}); is it damaged?") from error


def _read(graph: Mapping[str, Any], arrays: Mapping[str, np.ndarray], spec: ResNetSpec | None) -> GraphNetwork:
    items, size = Reader(graph, arrays).items()
    probabilities = is_step(items[-1], "softmax")
    items = items[:-1] if probabilities else items
    fold_standardized(items)
    network = spec or _named(infer_spec(items, size))
    found = dict(matched(network, items, size or network.input_size))
    weights = {name: array for name, (_, array) in found.items()}
    return GraphNetwork(network, weights, {name: there for name, (there, _) in found.items()}, probabilities)


def _named(spec: ResNetSpec) -> ResNetSpec:
    """The network of the zoo that computes the same in inference; the spec if there is none."""
    found = (named(replace(spec, norm_decay=decay)) for decay in _DECAYS)
    return next((replace(known, input_size=spec.input_size) for known in found if known.name), spec)
