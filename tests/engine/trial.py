"""One system on a test's own databases: runs are started and watched here, done by worker processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.bootstrap import Application, build
from app.runs.model import Priority, RunRequest, RunView, StepView
from app.settings import Settings
from tests.engine import tools
from tests.engine.documents import parse
from tests.engine.workers import Worker, Workers

PATIENCE_S = 60.0  # far over anything that works: only what hangs takes as long
LEASE_S = 2.0


class Trial:
    """A system and its workers.

    Args:
        application: composed on the test's databases.
        workers: none runs until the test starts some.
    """

    def __init__(self, application: Application, workers: Workers) -> None:
        self.application = application
        self.workers = workers

    @property
    def runs(self) -> Any:
        """The service that doors use."""
        return self.application.runs

    def start(self, blocks: list[dict[str, Any]], variables: dict[str, Any] | None = None, **options: Any) -> str:
        """Start a run of a document."""
        if "max_cost_usd" in options:
            options["max_cost_usd"] = Decimal(str(options["max_cost_usd"]))
        options["priority"] = Priority(options.get("priority", "medium"))
        request = RunRequest("workflow", parse(blocks, variables), owner="tester", **options)
        return str(self.application.runs.start_run(request).run_id)

    def make_places(self, places: int = 1000) -> None:
        """Make places for runs, as a worker's first recovery pass does; for trials that begin without one."""
        with self.application.engine.begin() as connection:
            connection.execute(sa.text(f"select batuta_resize_admission({places})"))

    def view(self, run_id: str) -> RunView:
        """Read a run."""
        return self.application.runs.get_run(run_id, owner=None)

    def step(self, run_id: str, key: str) -> StepView:
        """Read one step of a run."""
        return next(step for step in self.view(run_id).steps if step.key == key)

    def finish(self, run_id: str, timeout_s: float = PATIENCE_S) -> RunView:
        """Wait for a run's end."""
        self.await_that(lambda: self.status(run_id) in {"completed", "partial", "failed", "cancelled"}, timeout_s)
        return self.view(run_id)

    def run(self, blocks: list[dict[str, Any]], variables: dict[str, Any] | None = None, **options: Any) -> RunView:
        """Start a run and wait for its end."""
        return self.finish(self.start(blocks, variables, **options))

    def status(self, run_id: str) -> str:
        """Where a run is."""
        return str(self.ask("select status from runs where run_id = :run", run=run_id)[0][0])

    def await_status(self, run_id: str, status: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a run is there."""
        self.await_that(lambda: self.status(run_id) == status, timeout_s)

    def await_step(self, run_id: str, key: str, status: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a step is there."""
        question = "select status from steps where run_id = :run and key = :key"
        self.await_that(lambda: self.ask(question, run=run_id, key=key) == [(status,)], timeout_s)

    def await_that(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {timeout_s} s\n{self.tell()}")
            time.sleep(0.02)

    def ask(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Read the database."""
        with self.application.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement), values)]

    def times(self, run_id: str) -> list[tuple[datetime, datetime]]:
        """When each step began and ended, in journal order."""
        view = self.view(run_id)
        return [(step.started_at, step.finished_at) for step in view.steps if step.started_at and step.finished_at]

    def owner(self, run_id: str, key: str) -> Worker:
        """The worker that does a step now."""
        question = (
            "select p.name from steps s join processes p on p.process_id = s.owner where run_id = :r and key = :k"
        )
        [[name]] = self.ask(question, r=run_id, k=key)
        return next(worker for worker in self.workers.all if str(name).endswith(f":{worker.process.pid}"))

    def effects(self, run_id: str) -> list[tuple[str, str, int]]:
        """What the run's tools did, in order: step, what, attempt."""
        return self.ask("select step_key, what, attempt from effects where run_id = :run order by at", run=run_id)

    def events(self, run_id: str) -> list[tuple[str, str | None]]:
        """The run's story: type and step."""
        return [(event.type, event.step_key) for event in self.application.store.read_events(run_id, 0, 100_000)]

    def tell(self) -> str:
        """What hangs, for a failed assertion."""
        steps = self.ask(
            "select s.run_id, s.key, s.status, s.reason, s.placed, s.attempts, s.crashes, s.owner, s.error, r.status "
            "from steps s join runs r using (run_id) where s.status not in ('completed', 'skipped') limit 40"
        )
        return "\n".join([*map(str, steps), self.workers.logs()])

    def close(self) -> None:
        """End the workers, and let go of everything that is held here."""
        self.workers.kill_all()
        self.application.runs._listener.close()
        self.application.celery.close()
        self.application.redis.close()
        self.application.engine.dispose()


@contextmanager
def open_trial(environment: dict[str, str], folder: Path) -> Iterator[Trial]:
    """Compose a system on migrated databases."""
    environment = {"LEASE_S": str(LEASE_S), "DATA_DIR": str(folder), "EXTENSIONS": "tests.engine.tools", **environment}
    application = build(Settings.from_env(environment))
    with application.engine.begin() as connection:
        connection.execute(sa.text(tools.TABLE))
    trial = Trial(application, Workers(environment, folder))
    try:
        yield trial
    finally:
        trial.close()
