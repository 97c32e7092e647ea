"""The learning cycle's life: who starts one, that there is one at a time, and what becomes of the likes it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from app.errors import ConflictError
from app.runs.model import RunRequest, RunStatus, Started
from app.settings import StudioSettings
from app.studio.cycle_document import TRAINING_QUEUES, CycleShape, build_learning_cycle
from app.studio.gathering import Gathering
from app.studio.model import CycleEnd, LikeCount, count_like
from app.studio.ports import Runs
from app.studio.starting import SCHEDULE_OWNER, StartOptions
from app.studio.store import StudioStore
from app.studio.store.cycles import Counters, Cycle
from app.workflows.model import Workflow

KIND = "learning_cycle"
_LIVE = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})
_BY_LIKES, _QUEUED, _ASKED, _BATCH = "likes", "queued_likes", "asked", "batch"
MOST_TOGETHER = 100  # likes a transaction; more than a web process has threads

_Like = Mapping[str, Any]
_Counted = tuple[LikeCount, list[Started]]  # what is said of a like, and what it has started


class LearningCycles:
    """Start, settle and find learning cycles.

    Args:
        store: the database.
        runs: the engine.
        settings: the threshold.
        shape: which steps a cycle has.
    """

    def __init__(self, store: StudioStore, runs: Runs, settings: StudioSettings, shape: CycleShape) -> None:
        self._store = store
        self._runs = runs
        self._threshold = settings.like_threshold
        self.shape = shape
        self._likes: Gathering[_Like, _Counted] = Gathering(self._write_likes, MOST_TOGETHER)

    def add_like(self, like: _Like) -> LikeCount:
        """Store a like, count it once, and start the cycle whose threshold it reaches; all of it or nothing.

        Likes that come side by side share a transaction: each is counted, and answered, as if it had come alone.

        Returns:
            The counter after it, or the one that was reached; status `duplicate` when this record was liked before.
        """
        counted, pending = self._likes.bring(like)
        self._publish(pending)
        return counted

    def _write_likes(self, likes: Sequence[_Like]) -> list[_Counted]:
        pending: list[Started] = []
        with self._store.engine.begin() as connection:
            # The lock first: a cycle that begins here must not take a like that has not been counted yet.
            counters = self._locked(connection, pending)
            counted = list(self._count_all(connection, counters, likes))
        # Whoever brought the first one sends what had queued up before any of them.
        counted[0][1].extend(pending)
        return counted

    def _count_all(self, connection: Connection, counters: Counters, likes: Sequence[_Like]) -> Iterator[_Counted]:
        """Store and count likes in their order; those after one that starts a cycle are stored when it has begun."""
        while likes:
            left = len(likes) if counters.cycle_run_id else max(counters.missing(self._threshold), 1)
            now, likes = likes[:left], likes[left:]
            new = self._store.cycles.insert_likes(connection, now)
            counts = self._count(counters, new)
            last = counts[-1]
            self._store.cycles.count(connection, last.likes)
            counters = Counters(last.likes, last.at_last_try, counters.cycle_run_id)
            yield from ((count, []) for count in counts[:-1])
            if last.status != "threshold_reached":
                yield last, []
                continue
            started = self._begin(connection, last.likes, _BY_LIKES, StartOptions(SCHEDULE_OWNER))
            counters = Counters(0, 0, started.run_id)
            yield last, [started]

    def _count(self, counters: Counters, new: Sequence[bool]) -> list[LikeCount]:
        counts = []
        last = LikeCount(counters.likes, counters.at_last_try, "")
        for is_new in new:
            if is_new:
                running = counters.cycle_run_id is not None
                last = count_like(last.likes, last.at_last_try, self._threshold, cycle_running=running)
                counts.append(last)
            else:
                counts.append(LikeCount(last.likes, last.at_last_try, "duplicate"))
        return counts

    def trigger(self, options: StartOptions, connection: Connection | None = None) -> Started:
        """Start a cycle because somebody asked, however many likes there are.

        Args:
            options: owner and run options.
            connection: a transaction to take part in; the caller publishes the start after its commit.

        Raises:
            ConflictError: one runs.
        """
        if connection is not None:
            return self._trigger(connection, options)
        with self._store.engine.begin() as own:
            started = self._trigger(own, options)
        self._runs.publish(started)
        return started

    def _trigger(self, connection: Connection, options: StartOptions) -> Started:
        # When likes have queued for a next one, this is it: no other is begun here, so a refusal undoes nothing.
        counters = self._closed(connection)
        if counters.cycle_run_id is not None:
            message = "Retrain already in progress."
            raise ConflictError(message, code="retrain_in_progress", task_id=counters.cycle_run_id)
        return self._begin(connection, counters.likes, _ASKED, options)

    def join_for_batch(self, batch_run_id: str, owner: str, *, forced: bool) -> Cycle | None:
        """Give the cycle that a batch waits for: its own, the running one, or a new one if forced or due.

        Repeating it gives the same cycle: the batch's own is found by the batch's run.

        Returns:
            None when none is due and none was asked for.
        """
        own = self._store.cycles.started_by(batch_run_id)
        if own is not None:
            return own
        pending: list[Started] = []
        with self._store.engine.begin() as connection:
            counters = self._locked(connection, pending)
            run_id = counters.cycle_run_id
            if run_id is None and (forced or counters.reaches(self._threshold)):
                options = StartOptions(owner)
                pending.append(self._begin(connection, counters.likes, _BATCH, options, batch_run_id))
                run_id = pending[-1].run_id
            elif not forced:
                run_id = None
            cycle = None if run_id is None else self._store.cycles.find(run_id, connection)
        self._publish(pending)
        return cycle

    def settle(self, run_id: str, end: CycleEnd) -> Cycle | None:
        """Say once what came of a cycle: its likes are consumed or free again.

        The next one may begin when the run has ended; `close_ended` sees to it.

        Repeat-safe: a cycle that has been settled, by this or by anybody, stays as it was settled.

        Returns:
            The cycle as it was settled; None when the run never was one.
        """
        with self._store.engine.begin() as connection:
            counters = self._store.cycles.lock(connection)
            cycle = self._store.cycles.find(run_id, connection)
            if cycle is not None and not cycle.over and counters.cycle_run_id == run_id:
                self._store.cycles.end(connection, counters, end)
            return self._store.cycles.find(run_id, connection)

    def close_ended(self, only: str | None = None) -> bool:
        """Close a cycle whose run has ended, is paused or is gone, and start the next when enough likes have queued.

        Whoever looks at the counters calls this, so that a killed, cancelled or deleted run never blocks learning.

        Args:
            only: the run to look for, for whoever waits for one; another run's cycle is left to others.

        Returns:
            Whether no cycle's run is under way that was when this was called.
        """
        run_id = self._store.cycles.peek()
        if run_id is None or only not in {None, run_id}:
            return True
        pending: list[Started] = []
        with self._store.engine.begin() as connection:
            if self._runs.status_in(connection, run_id) in _LIVE:
                return False
            counters = self._store.cycles.lock(connection)
            if counters.cycle_run_id == run_id:
                self._go_on(connection, counters, pending)
        self._publish(pending)
        return True

    def is_running(self, run_id: str) -> bool:
        """Whether a cycle's run has been admitted and goes on."""
        with self._store.engine.connect() as connection:
            return self._runs.status_in(connection, run_id) is RunStatus.RUNNING

    def hold(self, connection: Connection, run_id: str) -> bool:
        """Lock the counters; whether this run is still the cycle, so that what it learned may be put to use."""
        counters = self._store.cycles.lock(connection)
        cycle = self._store.cycles.find(run_id, connection)
        return counters.cycle_run_id == run_id and cycle is not None and not cycle.over

    def reset(self) -> None:
        """Set the counter to 0; the likes stay known and train later."""
        with self._store.engine.begin() as connection:
            self.forget_counter(connection)

    def forget_counter(self, connection: Connection) -> None:
        """Set the counter to 0 in a caller's transaction."""
        self._store.cycles.lock(connection)
        self._store.cycles.reset(connection)

    def _locked(self, connection: Connection, pending: list[Started]) -> Counters:
        """Lock the counters; when the last cycle has ended and likes have queued for the next, that one begins."""
        return self._go_on(connection, self._store.cycles.lock(connection), pending)

    def _go_on(self, connection: Connection, before: Counters, pending: list[Started]) -> Counters:
        counters = self._closed(connection, before)
        if counters == before or not counters.reaches(self._threshold):
            return counters
        started = self._begin(connection, counters.likes, _QUEUED, StartOptions(SCHEDULE_OWNER))
        pending.append(started)
        return Counters(0, 0, started.run_id)

    def _closed(self, connection: Connection, counters: Counters | None = None) -> Counters:
        """Lock the counters, unless they are; a cycle whose run is no longer under way is closed."""
        counters = counters or self._store.cycles.lock(connection)
        run_id = counters.cycle_run_id
        if run_id is None:
            return counters
        status = self._runs.status_in(connection, run_id)
        if status in _LIVE:
            return counters
        cycle = self._store.cycles.find(run_id, connection)
        if cycle is not None and not cycle.over:
            counters = self._store.cycles.end(connection, counters, _explain_death(status))
        self._store.cycles.close(connection)
        return Counters(counters.likes, counters.at_last_try, None)

    def _begin(
        self,
        connection: Connection,
        counted: int,
        trigger: str,
        options: StartOptions,
        parent_run_id: str | None = None,
    ) -> Started:
        request = RunRequest(
            kind=KIND,
            workflow=self._workflow,
            owner=options.owner,
            priority=options.priority,
            max_cost_usd=options.max_cost_usd,
            callback_url=options.callback_url,
            queues=TRAINING_QUEUES if self.shape.trains_here else {},
        )
        started = self._runs.start_run(request, connection)
        self._store.cycles.begin(connection, started.run_id, trigger, counted, parent_run_id)
        return started

    @cached_property
    def _workflow(self) -> Workflow:
        return build_learning_cycle(self.shape)

    def _publish(self, pending: list[Started]) -> None:
        for started in pending:
            self._runs.publish(started)


def _explain_death(status: RunStatus | None) -> CycleEnd:
    if status is None:
        reason = "The cycle's run is gone."
    elif status is RunStatus.CANCELLED:
        return CycleEnd("cancelled", "The cycle was cancelled.", error="The learning cycle was cancelled.")
    elif status.ended:
        reason = "The cycle's run ended before it could say what it learned."
    else:
        reason = f"The cycle's run was {status.value.replace('_', ' ')}; its likes train later."
    return CycleEnd("failed", reason, error=reason)
