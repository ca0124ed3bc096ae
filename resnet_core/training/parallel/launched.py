"""Which of several processes a launcher has made of this one, by the variables that it sets.

torchrun, and whatever else starts PyTorch programs (Kubeflow's PyTorchJob, a line of shell), sets RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR and MASTER_PORT. mpirun of OpenMPI and srun of SLURM have variables of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from resnet_core.errors import InputError
from resnet_core.training.parallel.place import Place

#: (launcher, its rank, its number of processes, the rank on a machine, the processes on a machine).
LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("mpirun", *(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))),
    # Those of a step: a batch script has SLURM_PROCID and SLURM_NTASKS too, and is one process.
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
)  # fmt: skip

#: Where processes meet unless MASTER_PORT says otherwise; torchrun's own.
PORT = 29500

#: What a launcher calls a run, the same in all its processes, as far as it is known.
_RUN = ("TORCHELASTIC_RUN_ID", "PMIX_NAMESPACE", "SLURM_JOB_ID", "SLURM_STEP_ID")

#: How far from MASTER_PORT, which is the framework's, the port is at which the processes' parents meet.
_AWAY = 10_000

#: A host, or the first of a list such as node[03-07,9],other.
_FIRST_HOST = re.compile(r"([^\[,]+)(?:\[(\d+)[^\]]*\])?")


def launched(environment: Mapping[str, str]) -> Place | None:
    """The place that a launcher gave this process; None without one, and for one process alone.

    Raises InputError, one line, for variables that do not fit each other.
    """
    for launcher, rank, processes, local_rank, local in LAUNCHERS:
        if environment.get(rank) and environment.get(processes):
            count = _number(environment, processes)
            if count == 1:
                return None
            own = _number(environment, rank)
            if own >= count:
                raise InputError(f"{rank}: received {own} with {processes}={count}; expected a rank below it")
            here = environment.get(local) == str(count)
            return Place(
                own,
                count,
                _number(environment, local_rank) if environment.get(local_rank) else 0,
                _address(environment, launcher, here=here),
                _number(environment, "MASTER_PORT") if environment.get("MASTER_PORT") else PORT,
            )
    return None


def run_name(environment: Mapping[str, str]) -> str:
    """What the launcher calls this run: two that are not the same have different names, if it gives any."""
    return "/".join(environment.get(name, "")[:100] for name in _RUN)


def parents_port(port: int) -> int:
    """The port at which the parents meet, for the one at which the processes do. Systems hand out higher ones."""
    return port - _AWAY if port >= _AWAY + 1024 else port + _AWAY


def variables(place: Place) -> dict[str, str]:
    """Those of torchrun, for a process of this place."""
    return {
        "RANK": str(place.rank),
        "WORLD_SIZE": str(place.processes),
        "LOCAL_RANK": str(place.local_rank),
        "MASTER_ADDR": place.address,
        "MASTER_PORT": str(place.port),
    }


def _address(environment: Mapping[str, str], launcher: str, *, here: bool) -> str:
    """The machine of rank 0; `here` says that all processes are on this one."""
    if given := environment.get("MASTER_ADDR"):
        return given
    if launcher == "srun" and (found := _FIRST_HOST.match(environment.get("SLURM_STEP_NODELIST", ""))):
        return "".join(part or "" for part in found.groups())
    if here:
        return "127.0.0.1"
    raise InputError(
        f"MASTER_ADDR: received none from {launcher}; expected the name or address of the machine of rank 0"
    )


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InputError(f"{name}: received {text!r}; expected an integer from 0")
    return int(text)
