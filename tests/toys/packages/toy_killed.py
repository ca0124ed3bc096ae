"""A backend whose process is killed while it predicts, as by a system out of memory."""

import os
import signal

from resnet_numpy import *  # noqa: F403


def predict(model, images):
    os.kill(os.getpid(), signal.SIGKILL)
