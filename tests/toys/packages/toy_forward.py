"""A backend that has what every backend must, and can neither differentiate nor train."""

from resnet_numpy import *  # noqa: F403

del gradients, Trainer  # noqa: F821
