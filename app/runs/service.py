"""What people and doors ask of runs."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from app.errors import ConflictError, InvalidError, NotFoundError, OverloadedError
from app.logs import fact
from app.runs.model import RunStatus, RunView, Started, new_run_id
from app.runs.retention import forget_runs, paused_among
from app.runs.store import PgRunStore, RunFilter
from app.runs.submission import submission_rows
from app.tracing import current_traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from decimal import Decimal

    from sqlalchemy.engine import Connection

    from app.runs.listening import RunListener, Waiter
    from app.runs.model import Effects, Event, RunRequest
    from app.runs.ports import QueueDepths
    from app.runs.publishing import EffectPublisher

T = TypeVar("T")
HEARTBEAT_S = 15.0
MAX_PAGE_SIZE = 200
STOPS_A_WAIT = frozenset({RunStatus.PAUSED_BUDGET})


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of a list, newest first, and how many there are in all."""

    items: list[T]
    page: int
    page_size: int
    total: int


def is_over(view: RunView) -> bool:
    """Whether every step that a view holds has ended."""
    return bool(view.steps) and all(step.finished_at is not None for step in view.steps)


class RunService:
    """Start, read, steer and follow runs.

    Args:
        store: the journal.
        publisher: sends what a transaction asks for.
        listener: wakes waits.
        depths: messages in the queues.
        max_queue_depth: messages above which new work is refused.
    """

    def __init__(
        self,
        store: PgRunStore,
        publisher: EffectPublisher,
        listener: RunListener,
        depths: QueueDepths,
        max_queue_depth: int,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._listener = listener
        self._depths = depths
        self._max_queue_depth = max_queue_depth

    def check_capacity(self, connection: Connection | None = None) -> None:
        """Refuse new work while the queues are too deep.

        Args:
            connection: of the caller who holds one: callers who each wait for a second one wait for each other.

        Raises:
            OverloadedError: `MAX_QUEUE_DEPTH` messages and runs or more wait.
        """
        waiting = sum(self._depths.depths().values()) + self._store.count_queued(self._max_queue_depth, connection)
        if waiting >= self._max_queue_depth:
            raise OverloadedError("The queues are full; come again soon.", code="queue_full", retry_after_s=10)

    def start_run(self, request: RunRequest, connection: Connection | None = None) -> Started:
        """Write a run, durable when this returns, and send its first steps.

        Args:
            request: what to run.
            connection: joins the caller's transaction; the caller calls `publish` after its commit.
        """
        run_id = new_run_id()
        rows = submission_rows(run_id, request, {"request": fact("request"), "traceparent": current_traceparent()})
        if connection is not None:
            status, effects = self._store.submit(connection, rows)
            return Started(run_id, status, effects)
        with self._store.engine.begin() as own:
            status, effects = self._store.submit(own, rows)
        started = Started(run_id, status, effects)
        self.publish(started)
        return started

    def publish(self, started: Started) -> None:
        """Send what a committed start asks for; failures are recovery's."""
        self._publisher.publish(started.effects)

    def get_run(self, run_id: str, *, owner: str | None) -> RunView:
        """Read a run.

        Args:
            run_id: the run.
            owner: whose it must be; None reads anybody's.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        view = self._store.read_run(run_id)
        if view is None or (owner is not None and view.owner != owner):
            raise NotFoundError(f"There is no run {run_id}.", code="run_not_found")
        return view

    def status_in(self, connection: Connection, run_id: str) -> RunStatus | None:
        """Look up where a run is, as the caller's own transaction sees it; None when there is none (any more)."""
        return self._store.status_in(connection, run_id)

    def forget_runs(self, run_ids: Sequence[str]) -> int:
        """Delete ended runs with every text of them; what goes on stays. Gives how many went.

        What is paused is cancelled first: nobody is left who lets it go on, and its texts would stay for good.
        """
        for run_id in paused_among(self._store.engine, run_ids):
            with suppress(ConflictError, NotFoundError):  # it has gone on meanwhile
                self.cancel_run(run_id, owner=None)
        return forget_runs(self._store.engine, run_ids)

    def list_runs(
        self,
        *,
        owner: str | None,
        kind: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        page: int = 1,
        page_size: int = 50,
    ) -> Page[RunView]:
        """List runs without their steps, newest first; `page_size` over 200 is cut."""
        page, page_size = max(page, 1), min(max(page_size, 1), MAX_PAGE_SIZE)
        items, total = self._store.list_runs(RunFilter(owner, kind, status, since), page=page, page_size=page_size)
        return Page(items, page, page_size, total)

    def cancel_run(self, run_id: str, *, owner: str | None) -> RunView:
        """Cancel: what waits ends at once, what runs is stopped within a lease's third.

        Raises:
            ConflictError: the run has ended.
        """
        self._command(run_id, owner, "cancel", {})
        # Transactions of their own: finishes that wait for the run's row see the flag first, and go in between.
        while any(event.type == "step_cancelled" for event in self._command(run_id, owner, "cancel_rest", {}).events):
            pass
        return self.get_run(run_id, owner=owner)

    def pause_run(self, run_id: str, *, owner: str | None) -> RunView:
        """Send nothing more; running steps finish."""
        self._command(run_id, owner, "pause", {})
        return self.get_run(run_id, owner=owner)

    def resume_run(self, run_id: str, *, owner: str | None) -> RunView:
        """Go on after a pause."""
        self._command(run_id, owner, "resume", {})
        return self.get_run(run_id, owner=owner)

    def retry_run(self, run_id: str, *, owner: str | None) -> RunView:
        """Begin again at what failed; what was paid for is kept."""
        self._command(run_id, owner, "retry", {})
        return self.get_run(run_id, owner=owner)

    def set_budget(self, run_id: str, max_cost_usd: Decimal, *, owner: str | None) -> RunView:
        """Set a new absolute cap, and go on where the run had paused for money."""
        self._command(run_id, owner, "budget", {"max_cost_usd": str(max_cost_usd)})
        return self.get_run(run_id, owner=owner)

    def approve_step(
        self,
        run_id: str,
        step_key: str,
        approved: bool,  # noqa: FBT001 - the question is a yes or no
        value: Any = None,
        note: str | None = None,
        *,
        owner: str | None,
    ) -> RunView:
        """Give a person's answer to an approval step.

        Args:
            run_id: the run.
            step_key: the approval.
            approved: no fails the step with code `rejected`.
            value: becomes the step's output; None makes it `{"approved", "note"}`.
            note: why.
            owner: whose run it must be; None for anybody's.

        Raises:
            NotFoundError: no such run or step.
            ConflictError: the step does not wait for a person.
        """
        view = self.get_run(run_id, owner=owner)
        step = next((step for step in view.steps if step.key == step_key), None)
        if step is None:
            raise NotFoundError(f"The run has no step {step_key!r}.", code="step_not_found")
        if step.kind != "approval":
            raise InvalidError(f"Step {step_key!r} is no approval.", code="not_an_approval")
        output = value if value is not None else {"approved": approved, "note": note}
        self._command(run_id, owner, "approve", {"key": step_key, "approved": approved, "output": output, "note": note})
        return self.get_run(run_id, owner=owner)

    def _command(self, run_id: str, owner: str | None, command: str, op: dict[str, Any]) -> Effects:
        with self._store.engine.begin() as connection:
            found = self._store.owner_of(connection, run_id)
            if found is None or (owner is not None and found != owner):
                raise NotFoundError(f"There is no run {run_id}.", code="run_not_found")
            status, effects = self._store.command(connection, run_id, command, op)
        if status is None:
            raise ConflictError(f"The run's state does not allow this ({command}).", code="wrong_state")
        self._publisher.publish(effects)
        return effects

    def wait_for_end(self, run_id: str, timeout_s: float) -> RunView | None:
        """Wait until a run ends.

        Returns:
            The ended run; None when it goes on after `timeout_s`, paused for money, or too many wait already.
        """
        ends_at = time.monotonic() + timeout_s
        with self._listener.waiter(run_id) as waiter:
            while True:
                status = self._store.status_of([run_id]).get(run_id)
                if status is None or status.ended:
                    return self._store.read_run(run_id)
                left_s = ends_at - time.monotonic()
                if waiter is None or status in STOPS_A_WAIT or left_s <= 0:
                    return None
                waiter.wait(left_s)

    def wait_for_step(self, run_id: str, key: str, timeout_s: float) -> RunView | None:
        """Wait until one step of a run has ended, whatever else the run still does.

        Returns:
            The run as it stands then, with this step alone and no variables; None as from `wait_for_end`.
        """
        ends_at = time.monotonic() + timeout_s
        with self._listener.waiter(run_id) as waiter:
            while True:
                view = self._store.read_with_step(run_id, key)
                if view is None or view.status.ended or is_over(view):
                    return view
                left_s = ends_at - time.monotonic()
                if waiter is None or view.status in STOPS_A_WAIT or left_s <= 0:
                    return None
                waiter.wait(left_s)

    def watch(self, run_id: str) -> AbstractContextManager[Waiter | None]:
        """Be told of a run's news, for a reader with a loop of its own; None when too many wait already."""
        return self._listener.waiter(run_id)

    def read_with_step(self, run_id: str, key: str) -> RunView | None:
        """Read a run with one of its steps alone and without variables; None when there is no run."""
        return self._store.read_with_step(run_id, key)

    def events_after(self, run_id: str, seq: int, limit: int = 500) -> list[Event]:
        """Read a run's events after a number, oldest first."""
        return self._store.read_events(run_id, seq, limit)

    def follow(self, run_id: str, seq: int) -> Iterator[Event | None]:
        """Follow a run's events from a number on, until it has ended and all are told.

        Yields:
            Events without gaps; None every 15 s without one, so that a connection that is gone is noticed.
        """
        with self._listener.waiter(run_id) as waiter:
            quiet_since = time.monotonic()
            while True:
                status = self._store.status_of([run_id]).get(run_id)
                events = self.events_after(run_id, seq)
                for event in events:
                    seq = event.seq
                    yield event
                    quiet_since = time.monotonic()
                if not events and (status is None or status.ended):
                    return
                if waiter is None or self._listener.closed:
                    return  # too many follow already; the client comes again with the last number it saw
                if not events:
                    waiter.wait(HEARTBEAT_S)
                if time.monotonic() - quiet_since >= HEARTBEAT_S:
                    quiet_since = time.monotonic()
                    yield None
