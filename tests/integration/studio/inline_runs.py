"""An engine in one thread: runs a document from its first step to its last, with the rules for skips and retries.

It keeps runs in memory. The batch's behaviour is tested on it in milliseconds; `tests/acceptance` has the real engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from app.errors import FatalError, NotFoundError, StepError, StepParked
from app.gateway.model import EmbeddingCall, Embeddings, ModelAnswer, ModelCall
from app.gateway.ports import OnText
from app.runs.model import RunRequest, RunStatus, RunView, Started, StepView, new_run_id
from app.runs.ports import Handler, HandlerCatalog, StepSummary
from app.workflows.conditions import holds
from app.workflows.model import Task
from app.workflows.variables import render

TRIES = {"transient": 5, "resource": 2, "logical": 3, "persistent": 1, "fatal": 1}


class Crashed(BaseException):
    """A process that dies in the middle of a step."""


@dataclass
class Context:
    """What a handler is given."""

    run_id: str
    step_key: str
    steps: list[StepSummary]
    attempt: int = 1
    owner: str = "local"
    deadline_s: float = 300.0
    cancelled: bool = False

    def check_cancelled(self) -> None:
        if self.cancelled:
            raise FatalError("cancelled")

    def earlier_steps(self) -> list[StepSummary]:
        return list(self.steps)

    async def ask(self, call: ModelCall, *, part: int = 0, on_text: OnText | None = None) -> ModelAnswer:
        raise AssertionError(f"the studio asks no model, and asked {call.model}, part {part}, {on_text}")

    async def embed(self, call: EmbeddingCall, *, part: int = 0) -> Embeddings:
        raise AssertionError(f"the studio makes no embeddings, and asked {call.model}, part {part}")


@dataclass
class InlineRuns:
    """Implements the studio's `Runs`, and `finish_run`, which does the work."""

    handlers: HandlerCatalog
    views: dict[str, RunView] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    requests: dict[str, RunRequest] = field(default_factory=dict)
    parked: int = 0
    on_park: Callable[[StepParked], None] = lambda _: None

    def start_run(self, request: RunRequest, connection: Connection | None = None) -> Started:
        run_id = new_run_id()
        self.requests[run_id] = request
        self.views[run_id] = RunView(
            run_id, request.kind, RunStatus.QUEUED, request.owner, request.priority, datetime.now(UTC), None, None,
            request.max_cost_usd, Decimal(0), 0, None, dict(request.workflow.variables), (), request.subject,
        )  # fmt: skip
        return Started(run_id, RunStatus.QUEUED)

    def publish(self, started: Started) -> None:
        self.published.append(started.run_id)

    def get_run(self, run_id: str, *, owner: str | None) -> RunView:
        if run_id not in self.views:
            raise NotFoundError(code="run_not_found")
        return self.views[run_id]

    def status_in(self, connection: Connection, run_id: str) -> RunStatus | None:
        del connection
        view = self.views.get(run_id)
        return None if view is None else view.status

    def set_status(self, run_id: str, status: RunStatus) -> None:
        self.views[run_id] = replace(self.views[run_id], status=status)

    def finish_waiting(self, parked: StepParked) -> None:
        """Run to its end what a step waits for, when that is another run."""
        waiting = [run_id for run_id, view in self.views.items() if view.status is RunStatus.QUEUED]
        if parked.reason == "learning":
            for run_id in waiting:
                self.finish_run(run_id)

    def finish_run(self, run_id: str) -> RunView:
        """Run every step; a run that crashed before goes on from its first unfinished step, as after a takeover."""
        request = self.requests[run_id]
        scope: dict[str, Any] = dict(request.workflow.variables)
        steps: list[StepSummary] = []
        self.set_status(run_id, RunStatus.RUNNING)
        for block in request.workflow.blocks:
            for task in block.tasks:
                self._run_task(run_id, task, scope, steps)
        failed = [step for step in steps if step.status == "failed"]
        status = RunStatus.PARTIAL if failed else RunStatus.COMPLETED
        views = tuple(
            StepView(
                step.key,
                step.kind,
                step.target,
                step.status,
                None,
                1,
                Decimal(0),
                None,
                None,
                step.output,
                step.error,
                None,
            )
            for step in steps
        )
        self.views[run_id] = replace(self.views[run_id], status=status, variables=scope, steps=views)
        return self.views[run_id]

    def _run_task(self, run_id: str, task: Task, scope: dict[str, Any], steps: list[StepSummary]) -> None:
        if task.when is not None and not holds(task.when, scope):
            steps.append(StepSummary(task.key, task.kind, task.target, "skipped", None, None))
            return
        if task.for_each is None:
            step = self._run_step(run_id, task, task.key, render(task.input, scope), steps)
            steps.append(step)
            output = step.output
        else:
            items = []
            for at, item in enumerate(render(task.for_each, scope)):
                given = render(task.input, {**scope, "item": item, "index": at})
                items.append(self._run_step(run_id, task, f"{task.key}.{at}", given, steps))
            steps.extend(items)
            output = [step.output for step in items]
        if task.output_variable is not None:
            scope[task.output_variable] = output

    def _run_step(self, run_id: str, task: Task, key: str, given: Any, steps: list[StepSummary]) -> StepSummary:
        handler: Handler = self.handlers.agents[task.target]
        attempt = 0
        while True:
            attempt += 1
            try:
                output = handler.call(Context(run_id, key, steps, attempt), given)
                return StepSummary(key, task.kind, task.target, "completed", output, None)
            except StepParked as parked:
                self.parked += 1
                attempt -= 1
                self.on_park(parked)
            except StepError as error:
                if attempt >= TRIES[error.error_class]:
                    problem = {"code": error.code, "message": error.message}
                    return StepSummary(key, task.kind, task.target, "failed", None, problem)
