"""A right backend that prints to standard output, as frameworks do."""

import os

from resnet_numpy import *  # noqa: F403
from resnet_numpy import predict as _predict


def predict(model, images):
    print('{"result": "this is no answer"}', flush=True)
    os.write(1, b'{"result": "nor is this"}\n')
    return _predict(model, images)
