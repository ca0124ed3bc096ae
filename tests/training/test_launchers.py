"""`resnet train` under launchers, each rank with a parent of its own: on one machine or more; and what ends all."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from launched_runs import LENGTH, LONG, Launched, Launcher, free_port, one_and_two, worker
from run_work import Work, done
from test_several_processes import RUN, apart, same_bits

from resnet_core.workers.ranks import ASKED

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the ranks are found in /proc")

AFTER = "all others were ended. What was saved is whole: --resume goes on from there"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Work:
    return one_and_two(tmp_path_factory.mktemp("runs"))


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
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("seconds", [0.0, 0.7, 1.4])
def test_whoever_is_asked_to_end_before_all_train_ends_all(work: Work, seconds: float, rank: int) -> None:
    """While it is imported, or meets the others, who wait for it: nothing can be agreed on yet."""
    with closing(Launched(work, ["asked", "asked"], *LONG)) as running:
        worker(running.processes[rank].pid, rank)
        time.sleep(seconds)
        begin = time.monotonic()
        running.processes[rank].send_signal(signal.SIGINT)
        ended = running.end()
    assert time.monotonic() - begin < 30
    assert ended[rank][0] == 130
    code, said = ended[1 - rank]
    if code != 130:  # a step was agreed on after all
        assert code == 1
        assert re.fullmatch(rf"resnet: rank {rank} on .+ {re.escape(ASKED)}; {re.escape(AFTER)}", said)


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


def torchrun(*options: str) -> list[str]:
    """Two processes here. Some seconds between two looks are for large jobs."""
    fixed = ["--nproc-per-node=2", f"--master-port={free_port()}", "--monitor-interval=0.1"]
    return [sys.executable, "-m", "torch.distributed.run", *fixed, *options]


#: OpenMPI asks whoever is root twice. It would give each process one core.
MPIRUN = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
mpirun_is_here = pytest.mark.skipif(shutil.which("mpirun") is None, reason="OpenMPI's mpirun is not installed")


def mpirun() -> list[str]:
    return ["mpirun", "-n", "2", "--oversubscribe", "--bind-to", "none", sys.executable]


@pytest.mark.long
def test_torchrun(runs: Work) -> None:
    """And, with its own restarts, a rank that is killed: the same line, with --resume from the start."""
    code, said = Launcher(runs, "torchrun", torchrun(), *LENGTH).end()
    assert code == 0, said
    assert same_bits(runs.folder / "torchrun", runs.folder / "two")
    longer = [*LENGTH[:1], "--epochs=40", *LENGTH[2:4], "--checkpoint-every=11", "--resume"]
    with closing(Launcher(runs, "restarted", torchrun("--max-restarts=2"), *longer)) as running:
        for rank, step in ((1, 22), (0, 44)):
            running.wait(step)
            os.kill(worker(running.process.pid, rank), signal.SIGKILL)
            time.sleep(1)  # until all others have ended too
        code, said = running.end()
    assert code == 0, said
    for rank in 0, 1:
        assert said.count(f"resnet: rank {rank} on ") == 1, "one line on each machine"
    done(runs.train("torch", "long two", *longer[:-1], "--processes", "2"))
    assert same_bits(running.run, runs.folder / "long two")


@pytest.mark.long
def test_torchrun_without_restarts_ends_in_time(runs: Work) -> None:
    with closing(Launcher(runs, "ended", torchrun(), *LONG)) as running:
        running.wait(50)
        begin = time.monotonic()
        os.kill(worker(running.process.pid, 0), signal.SIGKILL)
        code, said = running.end()
    assert time.monotonic() - begin < 30
    assert code == 1
    assert said.count(" was killed by SIGKILL (out of memory?); all others were ended") == 1


@pytest.mark.long
@mpirun_is_here
def test_mpirun(runs: Work) -> None:
    """And a rank that is killed: OpenMPI ends the others a second later, and the line is there by then."""
    code, said = Launcher(runs, "mpirun", mpirun(), *LENGTH, MASTER_PORT=str(free_port()), **MPIRUN).end()
    assert code == 0, said
    assert same_bits(runs.folder / "mpirun", runs.folder / "two")
    port = str(free_port())
    with closing(Launcher(runs, "ended by mpirun", mpirun(), *LONG, MASTER_PORT=port, **MPIRUN)) as running:
        running.wait(50)
        begin = time.monotonic()
        os.kill(worker(running.process.pid, 1), signal.SIGKILL)
        code, said = running.end()
    assert time.monotonic() - begin < 30
    assert code != 0
    assert said.count("rank 1 on ") == 1
    assert said.count(" was killed by SIGKILL (out of memory?); all others were ended") == 1


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[str]]:
    """Two network namespaces, joined by a cable, as two hosts; the address of the first is 10.77.0.1."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("two hosts are network namespaces, which only root can make, with ip and unshare")
    names = [f"resnet-{os.getpid()}-{host}" for host in "ab"]

    def ip(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)

    try:
        for name in names:
            if made := ip("netns", "add", name).stderr:
                pytest.skip(f"network namespaces cannot be made here ({made.strip()})")
        first, second = names
        if made := ip("link", "add", "cable", "netns", first, "type", "veth", "peer", "cable", "netns", second).stderr:
            pytest.skip(f"a veth pair cannot be made here ({made.strip()})")
        for number, name in enumerate(names, 1):
            for words in (f"addr add 10.77.0.{number}/24 dev cable", "link set cable up", "link set lo up"):
                assert not ip("-n", name, *words.split()).stderr
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def inside(name: str, host: str, table: Path | None = None) -> list[str]:
    """What precedes a command in a namespace, with a name for the host, and what hosts are called by this table."""
    mount = "" if table is None else f"mount --bind {shlex.quote(str(table))} /etc/hosts && "
    own = ["--uts"] if table is None else ["--uts", "--mount"]
    return ["ip", "netns", "exec", name, "unshare", *own, "sh", "-c", f'{mount}hostname {host} && exec "$@"', "sh"]


#: Gloo goes by the host's name, which nobody knows here.
CABLE = {"GLOO_SOCKET_IFNAME": "cable"}


def on_two(runs: Work, hosts: list[str], out: str, *more: str) -> Launched:
    """A run of a process on each host, without a shared folder."""
    prefixes = [inside(name, host) for name, host in zip(hosts, ("left", "right"), strict=True)]
    outs = [out, f"{out} elsewhere"]
    return Launched(runs, outs, *more, address="10.77.0.1", prefixes=prefixes, environment=CABLE, port=29500)


@pytest.mark.long
def test_two_hosts(runs: Work, hosts: list[str]) -> None:
    """The run of one process; each rank reaches the other over the cable alone."""
    both = on_two(runs, hosts, "hosts", *LENGTH)
    assert [code for code, _ in both.end()] == [0, 0]
    assert apart(both.run, runs.folder / "one") < RUN
    assert same_bits(both.run, runs.folder / "two")


def torchruns(
    runs: Work, hosts: list[str], outs: Sequence[str], options: Sequence[Sequence[str]], *more: str
) -> list[Launcher]:
    """A torchrun on each host, with a process and options of its own. Torchrun asks what its host's name leads to."""
    table = runs.folder / "hosts.txt"
    table.write_text("127.0.0.1 localhost\n10.77.0.1 left\n10.77.0.2 right\n")
    fixed = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    return [
        Launcher(runs, out, [*inside(space, host, table), *fixed, "--monitor-interval=0.1", *own], *more, **CABLE)
        for space, host, out, own in zip(hosts, ("left", "right"), outs, options, strict=True)
    ]


@pytest.mark.long
def test_torchrun_on_two_hosts(runs: Work, hosts: list[str]) -> None:
    """With the rank of a node on each line, and without a shared folder."""
    meeting = ["--master-addr=left", "--master-port=29500"]
    outs = ["nodes", "nodes elsewhere"]
    both = torchruns(runs, hosts, outs, [[f"--node-rank={rank}", *meeting] for rank in (0, 1)], *LENGTH)
    for code, said in [each.end() for each in both]:
        assert code == 0, said
    assert same_bits(both[0].run, runs.folder / "two")
    assert not both[1].run.exists(), "only rank 0 writes"


@pytest.mark.long
def test_torchrun_restarts_on_two_hosts(runs: Work, hosts: list[str]) -> None:
    """With torchrun's own rendezvous, which sorts the hosts by their names: so rank 0's is the same each time."""
    line = ["--rdzv-backend=c10d", "--rdzv-endpoint=left:29400", "--rdzv-id=7", "--max-restarts=3"]
    both = torchruns(runs, hosts, ["meeting", "meeting elsewhere"], [line, line], *LENGTH, "--resume")
    with closing(both[0]), closing(both[1]):
        both[0].wait(3)
        os.kill(worker([each.process.pid for each in both], 1), signal.SIGKILL)
        ended = [each.end() for each in both]
    for code, said in ended:
        assert code == 0, said
        assert len(re.findall(r"^resnet: rank 1 on right was killed by SIGKILL", said, re.MULTILINE)) == 1
    assert same_bits(both[0].run, runs.folder / "two")
    assert not both[1].run.exists(), "only rank 0 writes"


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_on_one_host_ends_the_other(runs: Work, hosts: list[str], rank: int) -> None:
    """Killed; and a cable that is pulled, of which no side is told anything."""
    with closing(on_two(runs, hosts, f"ended {rank}", *LONG)) as both:
        both.wait(50)
        begin = time.monotonic()
        os.kill(worker(both.processes[rank].pid, rank), signal.SIGKILL)
        line = f"resnet: rank {rank} on {('left', 'right')[rank]} was killed by SIGKILL (out of memory?); {AFTER}"
        assert both.end() == [(1, line)] * 2
        assert time.monotonic() - begin < 30
    with closing(on_two(runs, hosts, f"cut {rank}", *LONG)) as both:
        both.wait(50)
        begin = time.monotonic()
        subprocess.run(["ip", "-n", hosts[rank], "link", "set", "cable", "down"], check=True)
        try:
            (left, said), (right, heard) = both.end()
        finally:
            subprocess.run(["ip", "-n", hosts[rank], "link", "set", "cable", "up"], check=True)
        assert (left, right) == (1, 1)
        assert time.monotonic() - begin < 30
        lost = "has not been heard of for 15 s: lost, or stopped"
        assert said == f"resnet: rank 1 on right {lost}; {AFTER}"
        assert heard == f"resnet: rank 0 on left {lost}; {AFTER}"
