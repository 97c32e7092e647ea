"""Every task there is, and the queue it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from celery.exceptions import Ignore

from app.broker import RUN_STEP
from tasks.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery, Task

    from app.settings import Settings

START_DUE_BATCH = "batuta.start_due_batch"
KEEP_HOUSE = "batuta.keep_house"
CLOSE_CYCLE = "batuta.close_cycle"


def register_tasks(app: Celery, read_settings: Callable[[], Settings]) -> None:
    """Declare the tasks on a Celery application.

    Args:
        app: tasks are declared on it; it keeps the runtime.
        read_settings: for the runtime, which is composed at the first task of a process.
    """
    runtime = Runtime(read_settings)
    vars(app)["batuta_runtime"] = runtime

    @app.task(name=RUN_STEP, bind=True, ignore_result=True)
    def run_step(self: Task[Any, Any], run: str, step: str) -> None:
        """Do one step of a run.

        The asyncio pool has done the step before Celery calls this; other pools wait for it here.

        Repeat-safe: the claim in the journal is given once; a second message of the same step is refused.
        """
        go_on = runtime.outcome(self.request.id)
        if go_on is None:
            go_on = runtime.run_step(run, step, next_step(cast("Any", self.request.chain)))
        if not go_on and self.request.chain:
            raise Ignore  # the journal goes on elsewhere: drop what this chain still carries

    @app.task(name=START_DUE_BATCH, ignore_result=True)
    def start_due_batch() -> None:
        """Start today's batch unless it is done, runs, or has failed three times.

        Repeat-safe: the day's batch is one row under a unique index, however many beats fire.
        """
        runtime.application.studio.start_due_batch()

    @app.task(name=CLOSE_CYCLE, ignore_result=True)
    def close_cycle() -> None:
        """Settle a learning cycle whose run is over, and start the next when likes have queued for it.

        So it does for assignments' training and feedback, and for chats' trainings and what they learn from.

        Repeat-safe: a cycle is settled once, under a lock, and one runs at a time; so does a training.
        """
        runtime.application.studio.close_ended_cycle()
        runtime.application.assignment_training.start_due()
        for training in runtime.application.chat_trainings:
            training.start_due()

    @app.task(name=KEEP_HOUSE, ignore_result=True)
    def keep_house() -> None:
        """Delete what retention says may go.

        Repeat-safe: deletes by age.
        """
        runtime.application.housekeeping.keep_house()


def next_step(chain: list[dict[str, Any]] | None) -> str | None:
    """Name the step that a message's chain carries next; Celery keeps chains reversed."""
    if not chain:
        return None
    step: str = chain[-1]["kwargs"]["step"]
    return step
