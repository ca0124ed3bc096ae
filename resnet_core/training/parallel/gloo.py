"""Gloo, which carries what processes exchange on CPUs (in PyTorch and in JAX), is kept from taking their cores.

Its thread waits for sockets. While a message is there that its process has not asked for yet, the system says so again
each time, and the thread asks again, as fast as it can. Where it is on the core of the computation, it interrupts that,
also while that holds their lock, and asks on until its time slice is over: a sum of 64 numbers took 4 ms, instead of
0.15, and a step 525 ms, instead of 195 (jaxlib 0.10.2, ResNet-20, two processes of one core each). So that thread gets
the batch policy of Linux, by which it interrupts nobody, and little of the time of who computes: it runs when its
process waits, which is when it is needed. Where other programs are at work on the same cores, it takes its turn after
them, and a step 2.1 s, instead of 0.7; with the idle policy, by which it hardly has a turn, 7.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from resnet_core.backend import optional
from resnet_core.training.parallel.group import Group
from resnet_core.training.parallel.place import Place

#: Gloo's wait: the system calls `epoll_wait` (x86-64) and `epoll_pwait` (x86-64 and others), at most 64 events, 10 ms.
_CALLS, _EVENTS, _MILLISECONDS = {"232", "281", "22"}, 64, 10

#: Its share beside one that computes: 15 of 1,024.
_NICE = 19

#: How often its thread is looked for, and seconds between two looks: it may not be waiting just now.
_LOOKS, _PAUSE = 20, 0.005


def joined(backend: Any, place: Place, device: str) -> Group:
    """The processes as the backend's `join` has them meet, with Gloo kept from taking their cores."""
    group: Group = optional(backend, "join")(place, device)
    if device != "gpu":
        give_way()
    return group


def give_way() -> list[int]:
    """Give the batch policy, and little time, to the threads in which Gloo waits; returns their numbers.

    Called after the processes have met. Empty where the system is another, or does not tell.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return []
    for _ in range(_LOOKS):
        found = [thread for thread in _threads() if _waits_as_gloo(thread)]
        if found:
            break
        time.sleep(_PAUSE)
    for thread in found:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, thread, _NICE)
    return found


def _threads() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    return []


def _waits_as_gloo(thread: int) -> bool:
    try:
        call, *arguments = Path(f"/proc/self/task/{thread}/syscall").read_text().split()
    except (OSError, ValueError):  # it has ended, or the system does not tell
        return False
    return call in _CALLS and [int(argument, 16) for argument in arguments[2:4]] == [_EVENTS, _MILLISECONDS]
