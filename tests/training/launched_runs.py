"""Runs whose processes somebody else has started, found and ended by their ranks."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from run_work import ENVIRONMENT, Work, command, done

#: Of a run of twenty steps, two epochs, of batches that two processes do not divide.
LENGTH = ("--dtype=float64", "--epochs=2", "--with=batch_size=7", "--set=dropout=0.2", "--checkpoint-every=3")
#: The same for a run that is to be ended long before its end.
LONG = ("--dtype=float64", "--epochs=3000", "--with=batch_size=7", "--set=dropout=0.2", "--checkpoint-every=50")


def one_and_two(folder: Path) -> Work:
    """A folder with the run `one` of one process, by which others are measured, and `two` of two."""
    work = Work(folder)
    done(work.train("torch", "one", *LENGTH))
    done(work.train("torch", "two", *LENGTH, "--processes", "2"))
    return work


def free_port() -> int:
    """For MASTER_PORT, with the port where the parents meet free too: below those that the system hands out."""
    for port in range(21_000 + os.getpid() % 10_000, 32_000):
        try:
            for each in (port, port - 10_000):
                socket.create_server(("", each)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no port is free")


class Launched:
    """`resnet train` in one process for each rank, each with variables of its own, as a launcher makes them.

    `prefixes` come before each one's command, and `outs` are their folders.
    """

    def __init__(
        self,
        work: Work,
        outs: Sequence[str],
        *more: str,
        port: int | None = None,
        address: str = "127.0.0.1",
        prefixes: Sequence[Sequence[str]] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.run = work.folder / outs[0]
        own = {"WORLD_SIZE": str(len(outs)), "MASTER_ADDR": address, "MASTER_PORT": str(port or free_port())}
        self.processes = [
            subprocess.Popen(
                [*(prefixes[rank] if prefixes else ()), *command(*work.arguments("torch", out, *more))],
                env={**os.environ, **ENVIRONMENT, **own, "RANK": str(rank), **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, out in enumerate(outs)
        ]

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def steps(self) -> int:
        return steps(self.run)

    def wait(self, step: int) -> None:
        """Until a step is saved."""
        while self.steps() < step:
            assert all(process.poll() is None for process in self.processes), self.end()
            time.sleep(0.01)

    def end(self) -> list[tuple[int, str]]:
        """Exit code and last line of each; nothing is left."""
        try:
            said = [process.communicate(timeout=120)[1] for process in self.processes]
        finally:
            self.close()
        return [(p.returncode, (text.splitlines() or [""])[-1]) for p, text in zip(self.processes, said, strict=True)]


class Launcher:
    """A launcher's command, before `resnet` and its arguments, and the processes that it starts."""

    def __init__(self, work: Work, out: str, launcher: Sequence[str], *more: str, **environment: str) -> None:
        self.run = work.folder / out
        self.process = subprocess.Popen(
            [*launcher, "-m", "resnet_core", *map(str, work.arguments("torch", out, *more))],
            env={**os.environ, **ENVIRONMENT, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self, step: int) -> None:
        """Until a step is saved."""
        while steps(self.run) < step:
            assert self.process.poll() is None, self.end()
            time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """Exit code, and all that was said to the user."""
        try:
            _, said = self.process.communicate(timeout=120)
        finally:
            self.close()
        return self.process.returncode, said

    def close(self) -> None:
        """Kill the launcher, if it still runs; its processes end with it, or are its own to end."""
        self.process.kill()
        self.process.communicate()


def steps(run: Path) -> int:
    """The last step that is saved, -1 without any."""
    names = [path.stem for path in (run / "checkpoints").glob("step-*.safetensors")]
    return max((int(name.removeprefix("step-")) for name in names), default=-1)


def worker(parent: int | Sequence[int], rank: int) -> int:
    """The process of a rank somewhere below this one, or these, as soon as it is there."""
    parents = [parent] if isinstance(parent, int) else parent
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in [each for parent in parents for each in _below(parent)]:
            try:
                variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            names = (b"RANK", b"OMPI_COMM_WORLD_RANK")
            if b"RESNET_RANK=1" in variables and any(b"%s=%d" % (name, rank) in variables for name in names):
                return process
        time.sleep(0.02)
    raise AssertionError(f"rank {rank} has not been started")


def _below(process: int) -> list[int]:
    try:
        children = list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    except OSError:
        return []
    return children + [each for child in children for each in _below(child)]
