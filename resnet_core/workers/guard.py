"""What happens to a worker process if this process ends without closing it, by whatever signal.

A shell waits at a pipe of which only this process has the other end. The pipe ends with it, also where it was killed
and could do nothing itself: then the worker's process group is killed and its folder removed. A thread in the worker
could not do that while a backend computes without ever giving up the interpreter.
"""

from __future__ import annotations

import contextlib
import subprocess

#: $1 is the folder. The first line is the process group; a second one says that everything is closed.
_SCRIPT = """
trap '' HUP INT QUIT TERM
read -r group
read -r closed && exit
[ -n "$group" ] && kill -s KILL -- "-$group"
command -p rm -rf -- "$1"
"""


class Guard:
    """Guards a folder, and from `watch` on a process group, until `close`."""

    def __init__(self, folder: str) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "sh", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # a signal to this process and its group is not for the guard
        )

    def watch(self, group: int) -> None:
        """From now on, the process group ends with this process."""
        self._tell(f"{group}\n")

    def close(self) -> None:
        """There is nothing left to guard."""
        self._tell("\nclosed\n")
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        try:
            self._shell.wait(5)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()

    def _tell(self, text: str) -> None:
        assert self._shell.stdin is not None
        with contextlib.suppress(OSError):  # somebody has killed the shell
            self._shell.stdin.write(text.encode())
