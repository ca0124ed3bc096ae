"""The thread in which Gloo waits interrupts nobody; who waits otherwise is left alone."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from resnet_core.training.parallel import gloo

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="the policy is of Linux")


@contextmanager
def waiting(seconds: float, events: int) -> Iterator[int]:
    """A thread that waits as given, again and again, and its number."""
    ended, known, number = threading.Event(), threading.Event(), []

    def wait() -> None:
        number.append(threading.get_native_id())
        known.set()
        with select.epoll() as sockets:
            while not ended.is_set():
                sockets.poll(seconds, events)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        known.wait()
        yield number[0]
    finally:
        ended.set()
        thread.join()


def test_the_thread_that_waits_as_gloo_gets_the_batch_policy() -> None:
    with waiting(0.01, 64) as thread, waiting(0.01, 63) as fewer, waiting(0.02, 64) as longer:
        assert gloo.give_way() == [thread]
        assert os.sched_getscheduler(thread) == os.SCHED_BATCH
        assert os.getpriority(os.PRIO_PROCESS, thread) == 19
        for other in (0, fewer, longer):  # 0: this one
            assert os.sched_getscheduler(other) == os.SCHED_OTHER
            assert os.getpriority(os.PRIO_PROCESS, other) < 19


def test_where_the_system_does_not_tell_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gloo, "_PAUSE", 0.0)
    monkeypatch.setattr(gloo, "_threads", lambda: [2**22 + 1])  # none has that number
    assert gloo.give_way() == []
    monkeypatch.delattr(os, "SCHED_BATCH")
    assert gloo.give_way() == []
