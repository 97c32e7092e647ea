"""Trainings that begin when enough new lessons have come: a run of one step on the learning worker's queue.

One at a time a scorer. Lessons that come while one runs count for the next; so they do after one that failed, which is
not tried again before as many have come anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.dialects.postgresql import insert

from app.errors import PersistentError, TransientError
from app.learning.ports import LibraryMissingError, TooFewSamplesError
from app.learning.tables import learning_trainings as trainings
from app.runs.model import RunRequest, RunStatus
from app.runs.ports import Handler
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from app.learning.assignment_training import Runs
    from app.learning.model import TrainingRows
    from app.learning.service import ScorerRegistry
    from app.runs.ports import HandlerCatalog, StepContext
    from app.workflows.model import Workflow

OWNER = "local"
_LIVE = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED})
_QUEUES = {"train": "learning"}


class Lessons(Protocol):
    """Where a scorer's rows come from."""

    engine: sa.Engine

    def count(self, connection: sa.Connection, since: datetime | None) -> tuple[int, datetime | None]:
        """Count what came after a moment; with it, when the newest came."""
        ...

    def read(self, connection: sa.Connection) -> TrainingRows:
        """Read all that can be learned from, oldest first."""
        ...


@dataclass(frozen=True)
class Course:
    """When a scorer is trained.

    Args:
        scorer: which.
        fewest: lessons without which nothing is learned.
        threshold: new lessons that start a training.
    """

    scorer: str
    fewest: int
    threshold: int

    @property
    def kind(self) -> str:
        """The kind of its runs."""
        return f"{self.scorer}_training"

    @property
    def step(self) -> str:
        """The agent that does it."""
        return f"{self.scorer}_train"


class LessonTraining:
    """Start one scorer's trainings, and do them.

    Args:
        course: which scorer, and when.
        lessons: its rows.
        registry: the versions.
        runs: the engine.
    """

    def __init__(self, course: Course, lessons: Lessons, registry: ScorerRegistry, runs: Callable[[], Runs]) -> None:
        self.course = course
        self._lessons = lessons
        self._registry = registry
        self._runs = runs

    def start_due(self) -> bool:
        """Start what lessons wait for; beat asks.

        Returns:
            Whether a training was started.
        """
        with self._lessons.engine.begin() as connection:
            run_id, seen_until = self._read_state(connection)
            fresh, newest = self._lessons.count(connection, seen_until)
            if fresh < self.course.threshold or not self._is_enough(connection, fresh, seen_until):
                return False
            runs = self._runs()
            if run_id is not None and runs.status_in(connection, run_id) in _LIVE:
                return False
            request = RunRequest(self.course.kind, self._document(), OWNER, queues=_QUEUES)
            started = runs.start_run(request, connection)
            connection.execute(self._own(sa.update(trainings)).values(run_id=started.run_id, seen_until=newest))
        runs.publish(started)
        return True

    def _is_enough(self, connection: sa.Connection, fresh: int, seen_until: datetime | None) -> bool:
        if fresh >= self.course.fewest or seen_until is None:
            return fresh >= self.course.fewest
        return self._lessons.count(connection, None)[0] >= self.course.fewest

    def _read_state(self, connection: sa.Connection) -> tuple[str | None, datetime | None]:
        """Read where this stands, locked: nobody else starts or keeps one until the transaction ends."""
        new = insert(trainings).values(scorer=self.course.scorer)
        connection.execute(new.on_conflict_do_nothing())
        query = self._own(sa.select(trainings.c.run_id, trainings.c.seen_until))
        row = connection.execute(query.with_for_update()).one()
        return row.run_id, row.seen_until

    def _own(self, statement: Any) -> Any:
        return statement.where(trainings.c.scorer == self.course.scorer)

    def train(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Train on all lessons so far.

        Repeat-safe: a run trains one version, found again by the run. One that is no longer the newest keeps nothing.
        """
        try:
            return self._train(ctx)
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError):
            raise TransientError("The database did not answer.", code="storage_away") from None

    def _train(self, ctx: StepContext) -> dict[str, Any]:
        known = self._registry.trained_by(self.course.scorer, ctx.run_id)
        if known is not None:
            return known.outcome
        with self._lessons.engine.begin() as connection:
            self._refuse_over(connection, ctx.run_id)
            data = self._lessons.read(connection)
        ctx.check_cancelled()
        try:
            version = self._registry.train(
                self.course.scorer, data, ctx.run_id, lambda connection: self._is_newest(connection, ctx.run_id)
            )
        except (TooFewSamplesError, LibraryMissingError) as error:
            return {"status": "skipped", "reason": error.message, "metrics": None}
        if version is None:
            raise self._over()
        return version.outcome

    def _refuse_over(self, connection: sa.Connection, run_id: str) -> None:
        if not self._is_newest(connection, run_id):
            raise self._over()

    def _is_newest(self, connection: sa.Connection, run_id: str) -> bool:
        return self._read_state(connection)[0] == run_id

    def _over(self) -> PersistentError:
        return PersistentError(f"This run is not the newest training of {self.course.scorer}.", code="training_over")

    def _document(self) -> Workflow:
        document = [{"type": "linear", "tasks": [{"id": "train", "agent": self.course.step,
                                                  "output_variable": "training"}]}]  # fmt: skip
        names = frozenset({self.course.step})
        catalog = Catalog(models=frozenset(), agents=names, tools=frozenset(), addons=frozenset())
        return parse_workflow(document, {}, catalog=catalog)

    def register(self, catalog: HandlerCatalog, timeout_s: float) -> None:
        """Add the step to the installation's."""
        purpose = f"Trains the {self.course.scorer} scorer on chats"
        catalog.agent(Handler(self.course.step, self.train, timeout_s, purpose))
