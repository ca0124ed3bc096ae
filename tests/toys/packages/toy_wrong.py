"""A backend whose logits and feature maps are a little too large."""

from resnet_numpy import *  # noqa: F403
from resnet_numpy import predict as _predict


def predict(model, images):
    output = _predict(model, images)
    return {tap: 1.001 * array for tap, array in output.items()} if isinstance(output, dict) else 1.001 * output
