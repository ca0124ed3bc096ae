"""One network of each kind that the zoo has, for tests that take too long for all its names.

What is not here is one of these, deeper or wider, or puts two of their ideas together. A new family adds one here.
"""

from __future__ import annotations

import pytest

import resnet_core as rn

#: Each with what only it, or it first, has.
KINDS = (
    "resnet18",  # basic blocks, projections
    "resnet50",  # bottlenecks
    "resnet50_v1",  # the stride on the first 1x1
    "resnext50_32x4d",  # groups
    "resnet18_d2l",  # a bias everywhere, no norm in shortcuts, gray pictures
    "resnet20",  # option A, no pool in the stem
    "plain20",  # no shortcuts
    "wrn_28_10",  # pre-activation in basic blocks, a stem that is narrower than the first stage
    "resnet_v2_50",  # pre-activation in bottlenecks, the stride in the last block, subsampling, TensorFlow's pool
    "keras_resnet50",  # a pool that is padded by zeros, a projection in the first block of a stage
    "resnet50d",  # three convolutions in the stem, average pools in shortcuts
    "resnet33ts",  # a stem that widens, SiLU, groups of a given width, a convolution in the head, no pool in the stem
    "seresnetaa50d",  # squeeze-and-excitation, average pools in blocks and stem
    "senet154",  # projections of 3x3, a first convolution that is narrower than the second
    "ecaresnet26t",  # ECA
    "resnetblur18",  # blurs
    "resnetrs50",  # a convolution for a pool, another ratio of squeeze-and-excitation
    "resnetv2_50d_gn",  # group norm, pre-activation with projections of pooled maps
    "resnetv2_50x1_bit",  # standardized weights
    "flax_resnet50",  # TensorFlow's padding in blocks
)

#: Every name, those that are of no kind of their own marked `long`.
EVERY_NAME = [pytest.param(name, marks=() if name in KINDS else pytest.mark.long) for name in rn.names()]
