"""How deep Keras goes when it walks a flat graph by recursion, which Python ends at a depth of 1,000.

Keras alone needs this file. It walks from the outputs to the inputs, along the first input of each operation, and comes
to what hangs beside that way, such as a shortcut or the factors of a gate, only afterward.
"""

from __future__ import annotations

from resnet_core import tree

#: The greatest depth of a graph that stays flat: Keras opens one of 969 layers in a row and not one of 989, and some
#: nodes need a layer more, for a padding or for the end of a part.
DEEP = 850

#: Operations in a row of what is no single layer (`resnet_keras.layers`).
FORMULAS: dict[tree.Function, int] = {"leaky_relu": 3, "gelu": 4, "gelu_tanh": 4}
SLICED = 12


def depth(node: tree.Node) -> int:
    """Operations in a row between the input and the output of a node."""
    match node:
        case tree.Gate():
            return 2
        case tree.Residual():
            return 1 + sum(depth(chain) for chain in (node.pre, node.body, node.post))
        case tree.Combinator():
            return sum(depth(part) for _, part in node.parts())
        case tree.Activation():
            return FORMULAS.get(node.function, 1)
        case tree.AveragePool() | tree.BlurPool():
            return SLICED if isinstance(node, tree.BlurPool) or node.dilation != (1, 1) else 1
    return 1
