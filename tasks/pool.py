"""A Celery pool that awaits steps on one loop instead of giving each a thread.

`celery worker -P custom` with `CELERY_CUSTOM_WORKER_POOL=tasks.pool:AsyncioPool`. A message of a step is first
*awaited* on the worker's loop; when its outcome is in the journal, Celery's own code for a task (tracing, chain,
acknowledgement, events) runs as it does in every pool, and finds the outcome. Other tasks run in a few threads. So
thousands of steps wait for answers in one process, and Celery's bookkeeping stays Celery's.

Source: `celery/concurrency/base.py` and `thread.py`, Celery 5.7, for the protocol of a pool.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.concurrency.base import BasePool, apply_target
from kombu.utils.json import loads

from app.broker import RUN_STEP
from tasks.registry import next_step
from tasks.runtime import runtime_of

if TYPE_CHECKING:
    from collections.abc import Callable


logger = logging.getLogger(__name__)

TRACERS = 2  # threads that run Celery's own code after a step; it is short and holds the interpreter anyway
OUTCOME_PARTS = 3  # of what a tracer answers: failed, value, seconds
OTHERS = 8  # threads for tasks that are no steps
BOOKKEEPING_S = 5  # for Celery's own code after the last steps, when the worker ends


class ApplyResult:
    """What Celery's pools return for a task."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the task."""
        return self._future.result(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the task, without its result."""
        self._future.exception(timeout)


class AsyncioPool(BasePool):
    """Await steps; run the rest in threads."""

    body_can_be_buffer = False
    signal_safe = False

    def on_start(self) -> None:
        """Compose the process and start its loop before the first message comes."""
        self._runtime = runtime_of(self.app)
        self._runtime.role = "io"
        self._tracers = ThreadPoolExecutor(TRACERS, thread_name_prefix="tracer")
        self._others = ThreadPoolExecutor(OTHERS, thread_name_prefix="task")
        self._pending: set[Future[Any]] = set()
        _ = self._runtime.worker

    def on_apply(  # type: ignore[override]  # Celery's own pools name them as well
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> ApplyResult:
        """Take a task: `args` are name, id, request, body, content type and encoding, as Celery's tracer wants them."""
        name, task_id, body = args[0], args[1], args[3]
        step = _read_step(body) if name == RUN_STEP else None
        if step is None:  # another task, or a message that is none of ours: Celery's own code says what is wrong
            return ApplyResult(self._others.submit(apply_target, target, args, kwargs, callback, accept_callback))
        began = time.monotonic()
        if accept_callback:
            accept_callback(os.getpid(), began)
        done: Future[Any] = Future()
        self._pending.add(done)
        done.add_done_callback(self._pending.discard)
        bookkeeping = partial(apply_target, target, args, kwargs, _timed(callback, began))

        def trace(stepped: asyncio.Task[bool]) -> None:
            self._tracers.submit(self._trace, stepped, task_id, bookkeeping, done)

        self._runtime.submit_step(*step, trace)
        return ApplyResult(done)

    def _trace(
        self, stepped: asyncio.Task[bool], task_id: str, bookkeeping: Callable[[], Any], done: Future[Any]
    ) -> None:
        error = None if stepped.cancelled() else stepped.exception()
        if error is not None:
            # The journal refused to hear of it; recovery comes back to the step. The message has served.
            logger.error("a step's message ended with an error", exc_info=error)
        go_on = not stepped.cancelled() and error is None and stepped.result()
        self._runtime.keep_outcome(task_id, go_on=bool(go_on))
        try:
            bookkeeping()
        except Exception:  # a pool must survive its tasks
            logger.exception("Celery's code after a step failed")
        finally:
            self._runtime.outcome(task_id)
            done.set_result(None)

    def on_stop(self) -> None:
        """Finish or hand back, then let Celery acknowledge what is done."""
        self._runtime.worker.drain()
        # A step that has ended still wants Celery's code: what sends the next of its chain.
        wait(list(self._pending), timeout=BOOKKEEPING_S)
        self._tracers.shutdown(wait=True)
        self._others.shutdown(wait=True, cancel_futures=True)
        self._runtime.close()

    on_terminate = on_stop

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()  # type: ignore[misc]  # the stubs lack it
        info.update({"max-concurrency": self.limit, "in_hand": self._runtime.worker.runner.in_hand})
        return info


def _timed(callback: Callable[..., Any] | None, began: float) -> Callable[..., Any] | None:
    """Tell Celery how long the step took; its tracer saw only itself run."""
    if callback is None:
        return None

    def tell(outcome: Any) -> Any:
        if isinstance(outcome, tuple) and len(outcome) == OUTCOME_PARTS:
            outcome = (*outcome[:2], time.monotonic() - began)
        return callback(outcome)

    return tell


def _read_step(body: Any) -> tuple[str, str, str | None] | None:
    """Read ids and the chain's next step from a protocol-2 body: `[args, kwargs, {callbacks, chain, ...}]`.

    Returns:
        None when the body is not what we send.
    """
    try:
        _, given, embedded = loads(body) if isinstance(body, (str, bytes, memoryview)) else body
        return str(given["run"]), str(given["step"]), next_step(embedded.get("chain"))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
