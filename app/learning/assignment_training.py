"""When the assignments' scorer is trained, and the step that does it: a run of one step on the learning worker's queue.

One at a time: feedback that comes while one runs waits for the next. At most one a PAUSE_S: a burst of feedback is one
training, not one each.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import sqlalchemy.exc
from sqlalchemy import Connection

from app.assignments.ports import MlStatus
from app.assignments.store import PgAssignmentStore
from app.errors import PersistentError, TransientError
from app.learning.assignment import ASSIGNMENT, build_rows, check_enough
from app.learning.ports import LibraryMissingError, TooFewSamplesError
from app.learning.preference import FEWEST_SAMPLES
from app.learning.service import ScorerRegistry
from app.runs.model import RunRequest, RunStatus, Started
from app.runs.ports import Handler, HandlerCatalog, StepContext
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from app.workflows.model import Workflow

logger = logging.getLogger(__name__)

KIND = "assignment_training"
TRAIN = "assignment_train"
OWNER = "local"
PAUSE_S = 10.0
"""Seconds between two trainings' starts: the shortest in which an answer to a change can matter to a person."""

_QUEUES = {"train": "learning"}
_LIVE = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})


class Runs(Protocol):
    """The engine, as far as a training needs it."""

    def start_run(self, request: RunRequest, connection: Connection | None = None) -> Started:
        """Write a run in the caller's transaction; `publish` is the caller's to do after the commit."""
        ...

    def publish(self, started: Started) -> None:
        """Send what a committed start asked for."""
        ...

    def status_in(self, connection: Connection, run_id: str) -> RunStatus | None:
        """Look up where a run is; None when there is none."""
        ...


class AssignmentTraining:
    """Start trainings, and do them; implements `RetrainTrigger`.

    Args:
        store: the feedback and its counter.
        registry: the versions.
        runs: the engine.
        threshold: how many feedbacks start a training.
        pause_s: least time between two starts.
    """

    def __init__(
        self,
        store: PgAssignmentStore,
        registry: ScorerRegistry,
        runs: Runs,
        *,
        threshold: int,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._store = store
        self._registry = registry
        self._runs = runs
        self._threshold = threshold
        self._pause_s = pause_s

    # --- starting ---

    def feedback_arrived(self, waiting: int, threshold: int) -> MlStatus:
        """Start a training when one is due; see the port.

        Returns:
            `scheduled`: a training that sees this feedback is on its way, or comes when the running one and the
            pause are over. `skipped`: there is too little to learn from, or the threshold is not reached, or it could
            not be started. Nobody waits here for a training, so this never says `retrained`.
        """
        if waiting < threshold:
            return MlStatus.SKIPPED
        try:
            return self._start(threshold, retry_failed=True)
        except Exception:
            # The feedback is stored; the next one, or beat, starts what could not be started now.
            logger.exception("a training of the assignments' scorer could not be started")
            return MlStatus.SKIPPED

    def start_due(self) -> bool:
        """Start what feedback waits for; beat asks, so that the last of a burst is learned from, too.

        A training that failed is tried again when feedback comes, not by beat.

        Returns:
            Whether a training is under way or waits for its time.
        """
        return self._start(self._threshold, retry_failed=False) is MlStatus.SCHEDULED

    def _start(self, threshold: int, *, retry_failed: bool) -> MlStatus:
        with self._store.transaction() as connection:
            if not self._is_enough(connection):
                return MlStatus.SKIPPED
            state = self._store.read_training(connection, lock=True)
            if state.waiting < threshold:
                return MlStatus.SKIPPED
            status = None if state.run_id is None else self._runs.status_in(connection, state.run_id)
            if status in _LIVE or (state.asked_s_ago is not None and state.asked_s_ago < self._pause_s):
                return MlStatus.SCHEDULED
            if not retry_failed and status not in {None, RunStatus.COMPLETED}:
                return MlStatus.SKIPPED
            started = self._runs.start_run(RunRequest(KIND, build_training(), OWNER, queues=_QUEUES), connection)
            self._store.note_training(connection, started.run_id)
        self._runs.publish(started)
        return MlStatus.SCHEDULED

    def _is_enough(self, connection: Connection) -> bool:
        try:
            check_enough(*self._store.count_examples(connection, FEWEST_SAMPLES))
        except TooFewSamplesError:
            return False
        return True

    # --- the step ---

    def train(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Train on all feedback so far; the counter goes down in the transaction that keeps the version.

        Repeat-safe: a run trains one version, found again by the run, and takes its feedback from the counter once.
        A run that is no longer the newest training keeps nothing.
        """
        try:
            return self._train(ctx)
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError):
            raise TransientError("The database did not answer.", code="storage_away") from None

    def _train(self, ctx: StepContext) -> dict[str, Any]:
        known = self._registry.trained_by(ASSIGNMENT, ctx.run_id)
        if known is not None:
            return known.outcome
        with self._store.transaction() as connection:
            # First the counter: feedback that comes in between is learned from now and counts for the next.
            state = self._store.read_training(connection)
            data = build_rows(self._store.read_feedback(connection))
        if state.run_id != ctx.run_id:
            raise _over()
        ctx.check_cancelled()
        try:
            version = self._registry.train(
                ASSIGNMENT, data, ctx.run_id, lambda connection: self._hold(connection, ctx.run_id, state.waiting)
            )
        except (TooFewSamplesError, LibraryMissingError) as error:
            return {"status": "skipped", "reason": error.message, "metrics": None}
        if version is None:
            raise _over()
        return version.outcome

    def _hold(self, connection: Connection, run_id: str, used: int) -> bool:
        """Take what was used from the counter, once; whether this run may keep its version."""
        if self._store.read_training(connection, lock=True).run_id != run_id:
            return False
        # Under the lock: a second worker on the same step sees what the first one kept.
        if self._registry.trained_by(ASSIGNMENT, run_id) is None:
            self._store.consume_feedback(connection, used)
        return True

    def register(self, catalog: HandlerCatalog, timeout_s: float) -> None:
        """Add the step to the installation's."""
        catalog.agent(Handler(TRAIN, self.train, timeout_s, "Trains the assignments' scorer on feedback"))


def build_training() -> Workflow:
    """Write the document."""
    document = [{"type": "linear", "tasks": [{"id": "train", "agent": TRAIN, "output_variable": "training"}]}]
    catalog = Catalog(models=frozenset(), agents=frozenset({TRAIN}), tools=frozenset(), addons=frozenset())
    return parse_workflow(document, {}, catalog=catalog)


def _over() -> PersistentError:
    return PersistentError("This run is not the newest training of assignments.", code="training_over")
