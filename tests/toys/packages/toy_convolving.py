"""Convolutions of bfloat16 in a network of float32: right, or as the name says behind two underscores.

`full` computes predictions in float32 all the same, and `forgetful` training steps.
"""

from dataclasses import replace

from msgspec import structs

import resnet_numpy
from resnet_core.rewrite import rewrite
from resnet_core.tree import Conv
from resnet_numpy import *  # noqa: F403

KIND = __name__.partition("__")[2]

CONVOLUTION_DTYPES = ("bfloat16",)


def build_tree(tree, *, channels, weights, taps=(), dtype=None):
    if KIND == "full":
        tree = rewrite(tree, Conv, lambda convolution: replace(convolution, dtype=None))
    return resnet_numpy.build_tree(tree, channels=channels, weights=weights, taps=taps, dtype=dtype)


def gradients(model, images, cotangent):
    found = resnet_numpy.gradients(model, images, cotangent)
    wrong = KIND == "backward" and any(isinstance(leaf, Conv) and leaf.dtype for _, leaf in model.tree.children)
    return {name: 1.03 * value if wrong and value.shape == (32, 16, 3, 3) else value for name, value in found.items()}


class Trainer(resnet_numpy.Trainer):
    def __init__(self, spec, recipe, state, *, dtype=None):
        kept = structs.replace(recipe, convolution_dtype=None) if KIND == "forgetful" else recipe
        super().__init__(spec, kept, state, dtype=dtype)
