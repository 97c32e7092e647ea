"""Stand-ins behind the HTTP door: the parts of the application that its own tests need, in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.access.memory import MemoryTokenStore
from app.access.service import TokenService
from app.errors import ConflictError, NotFoundError
from app.runs.model import Event, RunRequest, RunStatus, RunView, Started, StepView, new_run_id
from app.runs.service import Page
from app.settings import Settings
from app.workflows.catalog import Catalog
from app.workflows.estimate import Estimate, estimate_workflow
from app.workflows.model import Workflow
from app.workflows.spreads import Spread

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class FakeRuns:
    """Runs that do what a test tells them; `before_read` runs before every read and may raise."""

    def __init__(self) -> None:
        self.views: dict[str, RunView] = {}
        self.requests: list[RunRequest] = []
        self.waits: list[float] = []
        self.sleeps = False
        self.events: list[Event | None] = []
        self.ends_as: RunStatus | None = RunStatus.COMPLETED
        self.before: dict[str, Callable[[], None]] = {}

    def add(self, **facts: Any) -> str:
        """Keep a run."""
        view = RunView(
            run_id=new_run_id(), kind="workflow", status=RunStatus.RUNNING, owner="local", priority="medium",  # type: ignore[arg-type]  # as text
            created_at=NOW, started_at=NOW, finished_at=None, max_cost_usd=None,
            cost_usd=Decimal("0.0000015"), tokens=3, error=None, variables={"a": 1}, subject={},
            steps=(StepView("0.0", "agent", "x", "running", None, 1, Decimal(0), NOW, None, None, None, None),),
        )  # fmt: skip
        view = replace(view, **facts)
        self.views[view.run_id] = view
        return view.run_id

    def _before(self, name: str) -> None:
        self.before.get(name, lambda: None)()

    def check_capacity(self, connection: object = None) -> None:
        del connection
        self._before("check_capacity")

    def start_run(self, request: RunRequest, connection: object = None) -> Started:
        del connection
        self._before("start_run")
        self.requests.append(request)
        run_id = self.add(
            kind=request.kind, owner=request.owner, status=RunStatus.QUEUED, variables=request.workflow.variables
        )
        return Started(run_id, RunStatus.QUEUED)

    def publish(self, started: Started) -> None:
        self._before("publish")

    def wait_for_end(self, run_id: str, timeout_s: float) -> RunView | None:
        self._before("wait_for_end")
        self.waits.append(timeout_s)
        if self.sleeps:
            time.sleep(timeout_s)
        if self.ends_as is None:
            return None
        self.views[run_id] = replace(self.views[run_id], status=self.ends_as, finished_at=NOW)
        return self.views[run_id] if self.ends_as.ended else None

    def get_run(self, run_id: str, *, owner: str | None) -> RunView:
        self._before("get_run")
        view = self.views.get(run_id)
        if view is None or owner not in {None, view.owner}:
            raise NotFoundError("There is no such run.", code="run_not_found")
        return view

    def list_runs(self, *, owner: str | None, page: int, page_size: int, **_: Any) -> Page[RunView]:
        views = [view for view in reversed(self.views.values()) if owner in {None, view.owner}]
        return Page(views[(page - 1) * page_size : page * page_size], page, page_size, len(views))

    def cancel_run(self, run_id: str, *, owner: str | None) -> RunView:
        view = self.get_run(run_id, owner=owner)
        if view.status.ended:
            raise ConflictError("It has ended.", code="wrong_state")
        self.views[run_id] = replace(view, status=RunStatus.CANCELLED)
        return self.views[run_id]

    pause_run = resume_run = retry_run = cancel_run

    def set_budget(self, run_id: str, max_cost_usd: Decimal, *, owner: str | None) -> RunView:
        self.views[run_id] = replace(self.get_run(run_id, owner=owner), max_cost_usd=max_cost_usd)
        return self.views[run_id]

    def follow(self, run_id: str, seq: int) -> Iterator[Event | None]:
        for event in self.events:
            if event is None or event.seq > seq:
                yield event


class FakeAnswers:
    """Shape every run alike."""

    def shape(self, view: RunView) -> dict[str, Any]:
        return {
            "task_id": view.run_id, "status": view.status, "result": view.variables,
            "cost": {"tokens": view.tokens, "dollars": float(view.cost_usd)},
        }  # fmt: skip


@dataclass
class FakeApplication:
    """What `create_app` is handed."""

    settings: Settings = field(
        default_factory=lambda: Settings.from_env(
            {"WEB_THREADS": "4", "CALLBACK_ALLOWED_HOSTS": "n8n.internal", "CALLBACK_SECRET": "signs callbacks"}
        )
    )
    runs: FakeRuns = field(default_factory=FakeRuns)
    tokens: TokenService = field(default_factory=lambda: TokenService(MemoryTokenStore()))
    answers: FakeAnswers = field(default_factory=FakeAnswers)
    missing: tuple[str, ...] = ()
    catalog: Catalog = field(
        default_factory=lambda: Catalog(frozenset({"fast_ai"}), frozenset({"echo"}), frozenset(), frozenset())
    )

    def missing_settings(self, workflow: Workflow) -> tuple[str, ...]:
        """Name what a test says is missing."""
        del workflow
        return self.missing

    def estimate(self, workflow: Workflow) -> Estimate:
        """Foretell a cent and a second for every run of a task."""
        figure = Spread(0.01, 0.02)
        return estimate_workflow(workflow, price=lambda *_: figure, history=lambda *_: Spread(1, 2))
