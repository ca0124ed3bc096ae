"""`python -m resnet_core` is `resnet`, and so is the installed command: from here on it can be stopped in one line."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn

from resnet_core.workers import BROKE_OFF, MARK


def start() -> NoReturn:
    """Import the command line and run it; Ctrl-C while it is imported, and while it ends, is no traceback."""
    try:
        from resnet_core.cli.commands import main

        main()
    except KeyboardInterrupt:
        print("resnet: stopped", file=sys.stderr)
        sys.exit(BROKE_OFF if MARK in os.environ else 130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to stop
        gc.freeze()  # nor to look through for cycles, which takes a fifth of a second of a short command


if __name__ == "__main__":
    start()
