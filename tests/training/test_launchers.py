"""`resnet train` under launchers, each rank with a parent of its own: on one machine or more; and what ends all."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from launched_runs import LENGTH, LONG, Launched, free_port, worker
from run_work import Work, done
from test_several_processes import RUN, apart, same_bits

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the ranks are found in /proc")

AFTER = "all others were ended. What was saved is whole: --resume goes on from there"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A folder with the run `one` of one process and `two` of two."""
    work = Work(tmp_path_factory.mktemp("runs"))
    done(work.train("torch", "one", *LENGTH))
    done(work.train("torch", "two", *LENGTH, "--processes", "2"))
    return work


@pytest.fixture
def begun(runs: Work) -> Iterator[Launched]:
    """A long run of two processes that has begun; its folder is gone afterward."""
    with closing(Launched(runs, ["begun", "begun"], *LONG)) as running:
        running.wait(50)
        yield running
    shutil.rmtree(running.run)


def test_a_run_that_was_killed_goes_on_without_a_shared_folder(runs: Work) -> None:
    """The same line again, with --resume from the start. Each rank has a folder of its own, as on two machines."""
    line = [runs, ["first", "elsewhere"], *LENGTH, "--resume"]
    running = Launched(*line)
    running.wait(3)
    killed = worker(running.processes[1].pid, 1)
    begin = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    for code, said in running.end():
        assert code == 1
        assert said.startswith("resnet: rank 1 on ")
        assert said.endswith(f" was killed by SIGKILL (out of memory?); {AFTER}")
    assert time.monotonic() - begin < 30
    assert [code for code, _ in Launched(*line).end()] == [0, 0]
    assert same_bits(running.run, runs.folder / "two")
    assert apart(running.run, runs.folder / "one") < RUN
    assert not (runs.folder / "elsewhere").exists(), "only rank 0 writes"


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("which", ["the rank", "its parent"])
def test_one_that_is_stopped_ends_all_in_time(begun: Launched, which: str, rank: int) -> None:
    """With the seconds that users wait. A parent that is stopped can say nothing itself."""
    parent = begun.processes[rank]
    begin = time.monotonic()
    os.kill(worker(parent.pid, rank) if which == "the rank" else parent.pid, signal.SIGSTOP)
    said = begun.processes[1 - rank].communicate(timeout=30)[1].splitlines()[-1]
    assert time.monotonic() - begin < 30
    what = "was stopped, and stood still for 10 s" if which == "the rank" else "has not been heard of for 15 s"
    assert said.startswith(f"resnet: rank {rank} on ")
    assert what in said
    assert said.endswith(AFTER)
    assert begun.processes[1 - rank].returncode == 1


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_is_asked_to_end_all_save_once(begun: Launched, number: int, rank: int) -> None:
    begun.processes[rank].send_signal(number)
    (code, said), (other, _) = begun.end()
    assert (code, other) == (130, 130)
    assert said == f"resnet: stopped after step {begun.steps()}, which is saved; use --resume to continue"


@pytest.mark.long
def test_another_run_in_the_same_folder_is_refused(begun: Launched, runs: Work) -> None:
    """While the first lives, which goes on. All of the second's processes end."""
    for more in ((), ("--resume",)):
        second = Launched(runs, ["begun", "begun"], *LONG, *more)
        begin = time.monotonic()
        (code, said), (other, heard) = second.end()
        assert (code, other) == (2, 1)
        assert "is training here" in said if more else "is not empty" in said
        assert heard.endswith(f"ended with exit code 2, and has said why; {AFTER}")
        assert time.monotonic() - begin < 30
    reached = begun.steps()
    begun.wait(reached + 50)


@pytest.mark.long
def test_a_port_that_is_another_runs_is_said(runs: Work) -> None:
    """The first goes on: who comes to its port is no rank of it."""
    port = free_port()
    with closing(Launched(runs, ["ports", "ports"], *LONG, port=port)) as first:
        first.wait(50)
        (code, said), (other, heard) = Launched(runs, ["second", "second"], *LONG, port=port).end()
        assert (code, other) == (2, 2)
        assert "cannot listen at port" in said
        assert "a run has begun there, with all its ranks" in heard
        first.wait(first.steps() + 50)
