"""Threads for handlers that block."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class HandlerThreads:
    """As many threads as were asked for; who finds none free waits for one before his time begins to run.

    A thread cannot be stopped: one whose step was given up stays taken until its handler returns.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="handler")
        self._free = asyncio.Semaphore(count)

    async def take(self) -> None:
        """Wait for a free thread; `run` must follow."""
        await self._free.acquire()

    def run(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Use the thread that was taken."""
        loop = asyncio.get_running_loop()
        # The step's trace and the facts of its log lines go along.
        work = self._executor.submit(contextvars.copy_context().run, function, *arguments)

        def give_back(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._free.release)

        work.add_done_callback(give_back)
        return asyncio.wrap_future(work)

    def close(self) -> None:
        """Take no more work; threads that work are not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
