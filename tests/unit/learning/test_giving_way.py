"""Long computations that leave the processor to others."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from app.learning.giving_way import STEPS, give_way

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no niceness of its own")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@LINUX
def test_only_the_computation_gives_way_and_not_the_thread_that_waits_for_it() -> None:
    before = niceness()
    assert give_way(niceness) == min(before + STEPS, 19)
    assert niceness() == before


@LINUX
def test_threads_that_the_computation_starts_give_way_as_well() -> None:
    found: list[int] = []

    def start() -> None:
        thread = threading.Thread(target=lambda: found.append(niceness()))
        thread.start()
        thread.join()

    give_way(start)
    assert found == [min(niceness() + STEPS, 19)]


def test_what_the_computation_raises_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise ZeroDivisionError("as the test says")

    with pytest.raises(ZeroDivisionError, match="as the test says"):
        give_way(fail)
