"""What a worker process holds besides Celery; composed at its first use, never at import."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from app.bootstrap import Application, build

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from app.runs.worker import StepWorker
    from app.settings import Settings


def runtime_of(app: Celery) -> Runtime:
    """Give the runtime that belongs to a Celery application."""
    runtime: Runtime = vars(app)["batuta_runtime"]
    return runtime


class Runtime:
    """The composed application and the step worker of this process.

    Args:
        read_settings: called at the first use.
    """

    def __init__(self, read_settings: Callable[[], Settings]) -> None:
        self._read_settings = read_settings
        self._lock = threading.Lock()
        self._application: Application | None = None
        self._worker: StepWorker | None = None
        # What leases call this process; a pool that takes I/O says so before the worker starts.
        self.role = "learning"
        self._outcomes: dict[str, bool] = {}

    @property
    def settings(self) -> Settings:
        """What the process's environment says."""
        return self._read_settings()

    @property
    def application(self) -> Application:
        """The composed application."""
        with self._lock:
            if self._application is None:
                self._application = build(self._read_settings())
            return self._application

    @property
    def worker(self) -> StepWorker:
        """The started step worker."""
        application = self.application
        with self._lock:
            if self._worker is None:
                self._worker = application.make_worker(self.role)
                self._worker.start()
            return self._worker

    def submit_step(
        self, run_id: str, key: str, next_key: str | None, when_done: Callable[[asyncio.Task[bool]], None]
    ) -> None:
        """Start a step on the worker's loop; `when_done` is called there with the ended task."""
        worker = self.worker
        worker.submit(worker.runner.run, (run_id, key, next_key), when_done)

    def run_step(self, run_id: str, key: str, next_key: str | None) -> bool:
        """Do a step and wait for it; for pools that give each task a thread or a process."""
        worker = self.worker
        return asyncio.run_coroutine_threadsafe(worker.runner.run(run_id, key, next_key), worker.loop).result()

    def keep_outcome(self, task_id: str, *, go_on: bool) -> None:
        """Keep what a step's coroutine answered until Celery's own code for its task runs."""
        self._outcomes[task_id] = go_on

    def outcome(self, task_id: str | None) -> bool | None:
        """Take what was kept; None when this process did not await the step."""
        return self._outcomes.pop(task_id or "", None)

    def close(self) -> None:
        """Finish or hand back what runs, then stop."""
        with self._lock:
            if self._worker is not None:
                self._worker.drain()
                self._worker.close()
                self._worker = None
