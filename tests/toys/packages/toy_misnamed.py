"""A backend that has lost a tensor's name."""

from resnet_numpy import *  # noqa: F403
from resnet_numpy import get_weights as _get_weights


def get_weights(model):
    return {name.replace("head.linear", "head.fc"): array for name, array in _get_weights(model).items()}
