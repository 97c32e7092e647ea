"""Learning cycles in PostgreSQL: the counter, the likes each takes, and what becomes of them.

Every change happens under the lock of the state row, so a like is either taken by a cycle or counted for the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from app.studio.model import CycleEnd
from app.studio.tables import MESSAGE_CHARS, NOW, learning_cycles, likes, state

_COUNTERS = (state.c.likes_since_last_retrain, state.c.likes_at_last_try, state.c.cycle_run_id)
_FREE = likes.c.cycle_run_id.is_(None)
_LIKE = ("record_id", "structure_id", "image_url")


def _insert_likes() -> sa.Executable:
    """Write the statement: a column of likes an array, so that it is the same for one like and for a hundred."""
    arrays = (sa.bindparam(name, type_=ARRAY(sa.Text)) for name in _LIKE)
    given = (
        sa.func.unnest(*arrays)
        .table_valued(*(sa.column(name, sa.Text) for name in _LIKE), with_ordinality="place")
        .render_derived()
    )
    rows = sa.select(*(given.c[name] for name in _LIKE)).order_by(given.c.place)
    return (
        insert(likes)
        .from_select(_LIKE, rows)
        .on_conflict_do_nothing(index_elements=[likes.c.record_id], index_where=likes.c.record_id.is_not(None))
        .returning(likes.c.record_id)
    )


_INSERT_LIKES = _insert_likes()


@dataclass(frozen=True)
class Counters:
    """The locked counters.

    Args:
        likes: counted and not yet consumed, without those of the running cycle.
        at_last_try: where the counter stood when a cycle that learned nothing began.
        cycle_run_id: the running cycle's run; None when none runs.
    """

    likes: int
    at_last_try: int
    cycle_run_id: str | None

    def reaches(self, threshold: int) -> bool:
        """Whether a cycle is due: a threshold's worth of likes since the last try."""
        return self.missing(threshold) <= 0

    def missing(self, threshold: int) -> int:
        """How many likes more make a cycle due; 0 or less when one is."""
        return threshold - (self.likes - self.at_last_try)


@dataclass(frozen=True)
class Cycle:
    """A learning cycle as it is stored."""

    run_id: str
    trigger: str
    likes_taken: int
    status: str
    reason: str | None
    metrics: dict[str, Any] | None
    started_at: datetime
    ended_at: datetime | None
    age_s: float

    @property
    def over(self) -> bool:
        """Whether it has been settled."""
        return self.ended_at is not None


class PgCycles:
    """Keep cycles; the caller's transaction holds the lock that `lock` takes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def lock(self, connection: sa.Connection) -> Counters:
        """Lock the counters and give them; only the columns a like needs, since the cached scores may be large."""
        query = sa.select(*_COUNTERS).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            connection.execute(insert(state).values(only=True).on_conflict_do_nothing())
            row = connection.execute(query).one()
        return Counters(*row)

    def peek(self) -> str | None:
        """Give the running cycle's run without locking anything."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(state.c.cycle_run_id)).scalar_one_or_none()

    def insert_likes(self, connection: sa.Connection, given: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Store likes in their order; whether each is new. Of one record that comes twice, the first one is."""
        values = {name: [like.get(name) for like in given] for name in _LIKE}
        fresh = [row.record_id for row in connection.execute(_INSERT_LIKES, values)]
        unseen = {record_id for record_id in fresh if record_id is not None}
        new = []
        for like in given:
            record_id = like.get("record_id")
            new.append(record_id is None or record_id in unseen)
            unseen.discard(record_id)
        return new

    def count(self, connection: sa.Connection, likes_now: int) -> None:
        """Set the counter after a like."""
        connection.execute(state.update().values(likes_since_last_retrain=likes_now, last_like_at=NOW))

    def begin(
        self, connection: sa.Connection, run_id: str, trigger: str, counted: int, parent_run_id: str | None
    ) -> None:
        """Let a run be the cycle: it takes every free like, and the counter."""
        taken = connection.execute(likes.update().where(_FREE).values(cycle_run_id=run_id).returning(likes.c.counted))
        flags = list(taken.scalars())
        connection.execute(
            learning_cycles.insert().values(
                run_id=run_id,
                parent_run_id=parent_run_id,
                trigger=trigger,
                likes_taken=len(flags),
                likes_counted=counted,
                likes_imported=max(counted - sum(flags), 0),
            )
        )
        self._set(connection, likes_since_last_retrain=0, likes_at_last_try=0, cycle_run_id=run_id)

    def end(self, connection: sa.Connection, counters: Counters, end: CycleEnd) -> Counters:
        """Settle the running cycle: its likes are consumed, or free and counted again.

        It stays the running one until `close`, so that two cycles' runs never overlap.

        Returns:
            The counters afterwards.
        """
        run_id = counters.cycle_run_id
        cycle = (
            connection.execute(sa.select(learning_cycles).where(learning_cycles.c.run_id == run_id)).mappings().one()
        )
        mine = likes.c.cycle_run_id == run_id
        shown = {"task_id": run_id, "status": end.shown_status, "reason": end.reason, "metrics": end.metrics}
        values: dict[str, Any] = {"last_cycle": shown, "last_error": end.error}
        if end.consumes:
            connection.execute(likes.update().where(mine).values(consumed_at=NOW))
            consumed = cycle["likes_taken"] + cycle["likes_imported"]
            after = Counters(counters.likes, 0, run_id)
            values |= {
                "total_retrains": state.c.total_retrains + 1,
                "total_likes_processed": state.c.total_likes_processed + consumed,
                "last_retrain_at": NOW,
            }
        else:
            connection.execute(likes.update().where(mine).values(cycle_run_id=None))
            # The next try comes a threshold after the likes that this one had.
            after = Counters(counters.likes + cycle["likes_counted"], cycle["likes_counted"], run_id)
        values |= {"likes_since_last_retrain": after.likes, "likes_at_last_try": after.at_last_try}
        connection.execute(
            learning_cycles.update()
            .where(learning_cycles.c.run_id == run_id)
            .values(status=end.status, reason=_cut(end.reason), metrics=end.metrics, ended_at=NOW)
        )
        self._set(connection, **values)
        return after

    def close(self, connection: sa.Connection) -> None:
        """Let no cycle run any more; the run of the last one has ended."""
        self._set(connection, cycle_run_id=None)

    def reset(self, connection: sa.Connection) -> None:
        """Set the counter to 0, also what a running cycle would give back; the likes stay and train later."""
        connection.execute(likes.update().where(likes.c.consumed_at.is_(None), likes.c.counted).values(counted=False))
        running = learning_cycles.c.ended_at.is_(None)
        connection.execute(learning_cycles.update().where(running).values(likes_counted=0, likes_imported=0))
        self._set(connection, likes_since_last_retrain=0, likes_at_last_try=0)

    def find(self, run_id: str, connection: sa.Connection | None = None) -> Cycle | None:
        """Give the cycle of a run."""
        return self._one(learning_cycles.c.run_id == run_id, connection)

    def started_by(self, parent_run_id: str, connection: sa.Connection | None = None) -> Cycle | None:
        """Give the cycle that a batch's run has started."""
        return self._one(learning_cycles.c.parent_run_id == parent_run_id, connection)

    def history(self, limit: int = 200) -> list[dict[str, Any]]:
        """Give the latest cycles, newest first."""
        query = sa.select(learning_cycles).order_by(learning_cycles.c.started_at.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _one(self, condition: sa.ColumnElement[bool], connection: sa.Connection | None) -> Cycle | None:
        if connection is None:
            with self._engine.connect() as own:
                return self._one(condition, own)
        names = [name for name in Cycle.__dataclass_fields__ if name != "age_s"]
        age = sa.func.extract("epoch", NOW - learning_cycles.c.started_at).cast(sa.Double).label("age_s")
        query = (
            sa.select(*(learning_cycles.c[name] for name in names), age)
            .where(condition)
            .order_by(learning_cycles.c.started_at.desc())
            .limit(1)
        )
        row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Cycle(**row)

    def _set(self, connection: sa.Connection, **values: Any) -> None:
        if values.get("last_error"):
            values["last_error"] = _cut(values["last_error"])
        connection.execute(state.update().values(**values))


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:MESSAGE_CHARS]
