"""Who watches the processes of a run: how they end is how the run ends, in one line that names the rank."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from resnet_core.cli import processes
from resnet_core.cli.processes import RESUMES, Run, checked, own_place, run_ranks
from resnet_core.errors import InputError, WorkerError
from resnet_core.training.parallel.launched import launched, variables
from resnet_core.training.parallel.place import Place
from resnet_core.workers import BROKE_OFF, MARK, ranks
from resnet_core.workers.ranks import CRASHED, OUT_OF_MEMORY, Rank, shares, supervise

WAIT = "import time; time.sleep(60)"
#: Ends as a rank does that was asked to.
POLITE = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(130)); print(1); time.sleep(60)"


def started(*programs: str) -> list[Rank]:
    return [Rank(number, [sys.executable, "-c", text], {}, ()) for number, text in enumerate(programs)]


def gone(rank: Rank) -> bool:
    return rank.process.poll() is not None


def test_all_end_well() -> None:
    assert supervise(started("", "")) == 0


def test_a_rank_that_is_killed_ends_the_others() -> None:
    """Within a second, whatever they wait for; one that computes without giving up the interpreter too."""
    running = started(WAIT, "import os, signal, time; time.sleep(0.2); os.kill(os.getpid(), signal.SIGKILL)", WAIT)
    begin = time.monotonic()
    with pytest.raises(WorkerError, match=r"^rank 1 was killed by SIGKILL \(out of memory\?\); all others were ended"):
        supervise(running)
    assert time.monotonic() - begin < 10
    assert all(map(gone, running))


def test_a_rank_that_is_stopped_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "STOPPED", 0.5)
    with pytest.raises(WorkerError, match=r"^rank 0 was stopped, and stood still for 0\.5 s"):
        supervise(started("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", WAIT))


def test_a_rank_that_goes_on_is_none_that_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "STOPPED", 3.0)
    running = started("import time; time.sleep(1)", "import time; time.sleep(1)")
    os.kill(running[1].process.pid, signal.SIGSTOP)
    threading.Timer(0.5, lambda: os.kill(running[1].process.pid, signal.SIGCONT)).start()
    assert supervise(running) == 0


def test_what_rank_0_says_is_enough() -> None:
    """Its exit code, and no line besides its own; the others wait for it and are ended."""
    running = started("import sys; sys.exit(2)", WAIT)
    assert supervise(running) == 2
    assert gone(running[1])


def test_another_rank_that_gives_up_is_named_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "GRACE", 0.3)
    text = "import sys; print('resnet: no such data', file=sys.stderr); sys.exit(2)"
    with pytest.raises(InputError, match=r"^rank 1 ended with exit code 2: no such data; all others were ended"):
        supervise(started(WAIT, text))


def test_the_first_reason_is_told_and_not_what_it_made_of_the_others() -> None:
    """Rank 0 lost the connection to rank 1, which ended a moment later: it was killed."""
    lost = f"import sys; print('RuntimeError: connection closed', file=sys.stderr); sys.exit({CRASHED})"
    killed = "import os, signal, time; time.sleep(0.7); os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(WorkerError, match=r"^rank 1 was killed by SIGKILL"):
        supervise(started(lost, killed))
    with pytest.raises(WorkerError, match=f"^rank 0 ended with exit code {CRASHED}: RuntimeError: connection closed"):
        supervise(started(lost, ""))


def test_a_rank_for_which_no_memory_is_left_is_named_before_those_that_lost_it() -> None:
    """By its exit code, or by what it said before it aborted; rank 0 lost the connection to it, and ended first."""
    lost = f"import sys; print('RuntimeError: connection closed', file=sys.stderr); sys.exit({CRASHED})"
    lacking = f"import sys, time; time.sleep(0.5); print('7 TiB', file=sys.stderr); sys.exit({OUT_OF_MEMORY})"
    with pytest.raises(WorkerError, match=r"^rank 1 ran out of memory \(7 TiB\); all others were ended"):
        supervise(started(lost, lacking))
    aborts = "import os, sys, time; time.sleep(0.5); os.write(2, b'what():  std::bad_alloc\\nat 0x1\\n'); os.abort()"
    with pytest.raises(WorkerError, match=r"^rank 1 ran out of memory \(what\(\):  ?std::bad_alloc\)"):
        supervise(started(lost, aborts))
    with pytest.raises(WorkerError, match=r"^rank 1 ran out of memory \(7 TiB\); all others were ended"):
        supervise(started(WAIT, lacking))
    with pytest.raises(WorkerError, match=r"^rank 0 ran out of memory \(7 TiB\); all others were ended"):
        supervise(started(lacking, WAIT))  # rank 0 has not said so itself


@pytest.mark.parametrize(
    "said",
    [
        "F1130 01:49:03.473878 env.cc:93] Check failed: ret == 0 (11 vs. 0) Thread tf_XLAEigen creation via "
        "pthread_create() failed.",
        "LLVM ERROR: pthread_create failed: Resource temporarily unavailable",
        "what():  Resource temporarily unavailable",
    ],
)
def test_a_library_that_aborts_for_want_of_memory_is_told_from_others(said: str) -> None:
    """As XLA, LLVM and the C++ library do where a thread can have no stack. A trace follows in the log."""
    aborts = f"import os; os.write(2, {said.encode()!r} + b'\\n    @ 0x7f81  xla::Begin()\\n'); os.abort()"
    with pytest.raises(WorkerError, match=rf"^rank 1 ran out of memory \({re.escape(' '.join(said.split()))}\); all"):
        supervise(started(WAIT, aborts))


def test_rank_0_that_ends_without_a_word_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a code that is no command's: the loader of libraries ends a process with 127, and writes to its log."""
    monkeypatch.setattr(ranks, "GRACE", 0.3)
    text = "import os; os.write(2, b'%s\\n'); os._exit(127)"
    with pytest.raises(WorkerError, match=r"^rank 0 ended with exit code 127: symbol lookup error; all others were"):
        supervise(started(text % "symbol lookup error", WAIT))
    with pytest.raises(WorkerError, match=r"^rank 0 ran out of memory \(cannot allocate memory in static TLS block\)"):
        supervise(started(text % "cannot allocate memory in static TLS block", WAIT))


def test_what_aborts_for_another_reason_says_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "GRACE", 0.3)
    with pytest.raises(WorkerError, match=r"^rank 1 was killed by SIGABRT"):
        supervise(started(WAIT, "import os; os.write(2, b'broken\\n'); os.abort()"))


def test_what_asks_to_end_is_handed_on() -> None:
    """Each rank saves and ends; the exit code is theirs."""
    running = started(POLITE, POLITE)
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    assert supervise(running) == 130


def test_a_rank_that_dies_of_what_was_handed_on_has_ended_as_asked() -> None:
    """It was not killed by somebody else: as before it has begun to train, or while it fails for another's end."""
    running = started(WAIT, WAIT)
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    assert supervise(running) == 130


def test_a_rank_that_breaks_off_alone_is_named_at_once() -> None:
    """No step was agreed on: the others wait for it, and not one that was asked by its parent, as all of them."""
    alone = f"import sys; sys.exit({BROKE_OFF})"
    with pytest.raises(WorkerError, match=rf"^rank 1 {ranks.ASKED}; all others were ended"):
        supervise(started(WAIT, alone))
    both = f"import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit({BROKE_OFF})); time.sleep(60)"
    running = started(both, both)
    threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    assert supervise(running) == 130
    assert [rank.broke_off for rank in running] == [True, True]


def test_a_rank_that_python_itself_ends_has_broken_off_too() -> None:
    """Ctrl-C in the 10 ms in which Python imports `site` and `runpy`: exit code 1, as of a rank 0 that has said why."""
    early = "import os; os.write(2, b'Could not import runpy module\\nKeyboardInterrupt\\n'); os._exit(1)"
    for programs, number in (((early, WAIT), 0), ((WAIT, early), 1)):
        with pytest.raises(WorkerError, match=rf"^rank {number} {ranks.ASKED}; all others were ended"):
            supervise(started(*programs))
    running = started(early)
    running[0].told.add(signal.SIGINT)
    assert supervise(running) == 130
    assert running[0].broke_off
    assert supervise(started(early.replace("KeyboardInterrupt", "the loss is NaN"), WAIT)) == 1


def test_one_that_is_asked_to_end_while_its_rank_is_started_tells_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is handed on once a rank is watched; before, it ends the parent, which must not be lost without a word."""
    told: list[str] = []
    others = SimpleNamespace(fail=told.append, close=lambda: told.append("closed"))

    def started_and_asked(*given: object, **named: object) -> Rank:
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "meet", lambda *given: (others, {"resumes": False, "files": {}, "port": 29_500}))
    monkeypatch.setattr(processes, "Rank", started_and_asked)
    with pytest.raises(KeyboardInterrupt):
        processes._one_of_several([], Place(1, 2, 1, port=29_500), Run(tmp_path, False, True))
    line, closed = told
    assert re.fullmatch(rf"rank 1 on .+ {ranks.ASKED}; all others were ended\. .+", line)
    assert closed == "closed"


def test_rank_0_may_take_its_time_when_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw the curves, longer than one may live on after a failure; not for ever."""
    monkeypatch.setattr(ranks, "GRACE", 0.1)
    assert supervise(started("import time; time.sleep(1.5)", "")) == 0
    monkeypatch.setattr(ranks, "PATIENCE", 0.3)
    with pytest.raises(WorkerError, match=r"^rank 0 did not end within 0\.3 s of the others"):
        supervise(started(WAIT, "raise SystemExit(130)"))


def test_a_rank_ends_with_its_parent() -> None:
    """However that ends."""
    program = (
        "import sys, time\nfrom resnet_core.workers.ranks import Rank\n"
        f"rank = Rank(1, [sys.executable, '-c', {WAIT!r}], {{}}, ())\n"
        "print(rank.process.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cores_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1, 2, 0, 7})
    assert shares(1) == [[0, 1, 2, 3, 7]]
    assert shares(2) == [[0, 1], [2, 3, 7]]
    assert sorted(core for own in shares(5) for core in own) == [0, 1, 2, 3, 7]
    assert [len(own) for own in shares(7)] == [1] * 7


def test_a_rank_has_the_cores_that_it_was_given() -> None:
    (core, *_) = sorted(os.sched_getaffinity(0))
    text = f"import os, sys; sys.exit(os.sched_getaffinity(0) != {{{core}}})"
    assert supervise([Rank(0, [sys.executable, "-c", text], {}, [core])]) == 0
    assert len(os.sched_getaffinity(0)) == sum(map(len, shares(1)))


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "host0", "MASTER_PORT": "1234"}
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "node[03-04],other",
}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"RANK": "", "WORLD_SIZE": ""}, None),
        (TORCHRUN, Place(3, 8, 1, "host0", 1234)),
        (MPIRUN, Place(1, 2, 1, "127.0.0.1", 29500)),
        ({**MPIRUN, "MASTER_ADDR": "host0"}, Place(1, 2, 1, "host0", 29500)),
        (SRUN, Place(5, 8, 1, "node03", 29500)),
        ({**SRUN, "SLURM_STEP_NODELIST": "one,two"}, Place(5, 8, 1, "one", 29500)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script
    ],
    ids=["none", "one", "empty", "torchrun", "mpirun", "mpirun, two hosts", "srun", "srun, plain list", "sbatch"],
)
def test_a_launcher_is_recognized(environment: dict[str, str], place: Place | None) -> None:
    assert launched(environment) == place
    if place is not None:
        assert launched(variables(place)) == place


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK: received 'x'; expected an integer from 0"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK: received 2 with WORLD_SIZE=2; expected a rank below it"),
        ({**MPIRUN, "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, "MASTER_ADDR: received none from mpirun"),
        ({**TORCHRUN, "MASTER_PORT": "-1"}, "MASTER_PORT: received '-1'"),
    ],
)
def test_what_does_not_fit_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        launched(environment)


def test_the_number_of_a_launcher_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="processes: received 2 where a launcher has made 8; leave --processes out"):
        run_ranks([], 2, Run(Path("run"), resumes=False, complete=True))
    assert own_place() is None
    monkeypatch.setenv(MARK, "1")
    run_ranks([], 2, Run(Path("run"), resumes=False, complete=True))  # in a rank, nothing is started
    assert own_place() == Place(3, 8, 1, "host0", 1234)


def test_a_stopped_rank_would_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look at it: the others wait for as long as they live."""
    monkeypatch.setattr(ranks, "STOPPED", 0.2)
    monkeypatch.setattr(ranks, "_stands_still", lambda process: False)
    running = started("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "import time; time.sleep(1)")
    threading.Timer(1.5, lambda: os.kill(running[0].process.pid, signal.SIGCONT)).start()
    assert supervise(running) == 0


def test_a_line_of_a_launcher_goes_on_or_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As rank 0's machine knows, of which the others are told, with what they read of the run."""
    run = tmp_path / "run"
    assert Run(run, resumes=True, complete=True).orders(1) == {"resumes": False, "files": {}, "port": 1}
    assert Run(run, resumes=True, complete=False).orders(1) == {
        "resumes": True,
        "files": {},
        "port": 1,
    }  # then refused by rank 0
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "last.safetensors").touch()
    asked = Run(run, resumes=True, complete=True)
    assert asked.orders(1) == {"resumes": True, "files": {"run.json": "{}"}, "port": 1}
    assert Run(run, resumes=False, complete=True).orders(1)["resumes"] is False  # refused: the folder is not empty
    assert asked.told() is asked
    monkeypatch.setenv(RESUMES, "0")
    assert asked.told() == Run(run, resumes=False, complete=True)
    monkeypatch.setenv(RESUMES, "1")
    monkeypatch.setenv(ranks.FILES, str(tmp_path))
    assert asked.told() == Run(tmp_path, resumes=True, complete=True)


@pytest.mark.parametrize(
    "orders",
    [
        None,
        {"resumes": 1, "files": {}, "port": 1},
        {"resumes": True, "port": 1},
        {"resumes": True, "files": {"../run.json": "{}"}, "port": 1},
        {"resumes": True, "files": {"run.json": 1}, "port": 1},
        {"resumes": True, "files": {"run.json": "x" * 2_000_000}, "port": 1},
        {"resumes": True, "files": {}, "port": 70000},
    ],
)
def test_orders_from_elsewhere_are_checked(orders: object) -> None:
    """They are files that are written here."""
    with pytest.raises(WorkerError, match=r"^rank 0 gave orders that cannot be read; expected the same version"):
        checked(orders)


def test_a_rank_finds_the_files_that_it_is_given() -> None:
    text = (
        f"import os, pathlib, sys; sys.exit(pathlib.Path(os.environ[{ranks.FILES!r}], 'run.json').read_text() != 'ä')"
    )
    rank = Rank(1, [sys.executable, "-c", text], {}, (), files={"run.json": "ä"})
    assert supervise([rank]) == 0
    assert gone(rank)
