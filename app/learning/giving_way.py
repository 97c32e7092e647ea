"""Let long computations give way to whoever waits for an answer."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

STEPS = 10  # of niceness: about a tenth of a processor that others want as well, all of one that nobody else wants


def give_way(work: Callable[[], T]) -> T:
    """Do something in a thread of lower priority, and wait for it.

    A thread and not the process: what is written afterwards, under a lock that likes wait for, must not be held up by
    them in turn; and a process without privileges cannot take its priority back.

    Returns:
        What `work` returns.

    Raises:
        BaseException: what `work` raises.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        _lower_priority()
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="giving-way", daemon=True).start()
    return outcome.result()


def _lower_priority() -> None:
    if sys.platform != "linux":  # elsewhere it is the whole process that would be lowered
        return
    # Linux keeps a niceness a thread; threads that this one starts, such as LightGBM's, inherit it.
    thread_id = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread_id, os.getpriority(os.PRIO_PROCESS, thread_id) + STEPS)
