"""A backend one of whose verbs takes other arguments than the contract says."""

from resnet_numpy import *  # noqa: F403
from resnet_numpy import predict as _predict


def predict(images, model):
    return _predict(model, images)
