"""A backend that never answers, and has started a process that would outlive it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from resnet_numpy import *  # noqa: F403


def predict(model, images):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if "TOY_HANG_CHILD" in os.environ:
        Path(os.environ["TOY_HANG_CHILD"]).write_text(str(child.pid))
    time.sleep(600)
