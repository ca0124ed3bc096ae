"""`resnet train --devices N`: one process whose devices share each batch; its steps are in `test_parallel_*.py`."""

from __future__ import annotations

import json

import pytest
from launched_runs import LENGTH, free_port
from parallel_groups import NOISE
from run_work import Work, done, resnet
from test_several_processes import RUN, apart

from engines import QUICK
from resnet_core.errors import InputError
from resnet_core.training.parallel.devices import require_one_way
from resnet_core.training.parallel.place import Place

#: A CPU as two devices.
TWO = {**QUICK, "XLA_FLAGS": f"{QUICK['XLA_FLAGS']} --xla_force_host_platform_device_count=2"}
#: {backend: how far its run may be from the reference's}; on JAX, Keras computes norms of float64 in float32.
BOTH = [("flax", RUN), pytest.param("keras", NOISE, marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """With the run `one` of the reference, of batches of seven pictures, which two do not divide."""
    made = Work(tmp_path_factory.mktemp("devices"))
    done(made.train("numpy", "one", *LENGTH))
    return made


@pytest.mark.parametrize(("backend", "limit"), BOTH)
def test_two_devices_train_the_run_of_one_and_one_goes_on(work: Work, backend: str, limit: float) -> None:
    variables = {**TWO, "KERAS_BACKEND": "jax"}
    begun = done(work.train(backend, backend, *LENGTH, "--devices=2", "--until=1", **variables))
    assert begun.stderr.count("2 devices of this process, each with its rows of every batch") == 1
    run = work.folder / backend
    done(resnet("train", "--out", run, "--resume", "--dtype=float64", "--device=cpu", **variables))
    assert apart(run, work.folder / "one") < limit
    sessions = json.loads((run / "run.json").read_text())["sessions"]
    assert [session.get("devices") for session in sessions] == [2, None]


@pytest.mark.parametrize(
    ("backend", "more", "line"),
    [
        ("numpy", (), "devices: backend numpy does not train on several; use one, or processes (use flax or torch)"),
        (
            "torch",
            (),
            "devices: received 2; backend torch has one in each process: start 2 of those instead (--processes 2), "
            "which compute the same",
        ),
        (
            "flax",
            ("--processes=3",),
            "devices: received 2 for each of 3 processes; expected several devices of one process, or several "
            "processes with a device each: leave one out",
        ),
    ],
)
def test_what_has_no_several_devices_says_so(work: Work, backend: str, more: tuple[str, ...], line: str) -> None:
    process = work.train(backend, "refused", "--devices=2", *more)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].endswith(line)
    assert not (work.folder / "refused").exists()


def test_a_launcher_is_not_waited_for_where_there_are_devices(work: Work) -> None:
    """Whose other rank never comes."""
    launched = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    process = work.train("flax", "refused", "--devices=2", **launched)
    assert process.returncode == 2
    assert process.stderr.startswith("resnet: devices: received 2 for each of 2 processes; expected several devices")


def test_more_devices_than_there_are(work: Work) -> None:
    process = work.train("flax", "refused", "--devices=3", **TWO)
    assert process.returncode == 2
    assert "devices: received 3; JAX " in process.stderr.splitlines()[-1]
    assert process.stderr.splitlines()[-1].endswith(" has 2 (cpu); ask for no more")
    assert not (work.folder / "refused").exists()


def test_groups_that_devices_do_not_divide(work: Work) -> None:
    more = ("--devices=2", "--with=batch_size=6", "--with=statistics_batch=2", "--with=drop_last=true")
    process = work.train("flax", "refused", *more, **TWO)
    assert process.returncode == 2
    assert "statistics_batch: received 2, which makes 3 groups at a time, for 2 devices" in process.stderr


def test_devices_and_processes_are_two_ways() -> None:
    with pytest.raises(InputError, match="devices: received 2 for each of 3 processes; expected several devices of"):
        require_one_way(Place(0, 3), 2)
    with pytest.raises(InputError, match="devices: received 0; expected an integer from 1"):
        require_one_way(None, 0)
    require_one_way(Place(0, 3), 1)
