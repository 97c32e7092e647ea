"""Batches in PostgreSQL: who is active, who joined, what came of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from app.studio.model import Listing
from app.studio.schedule import Tried
from app.studio.store.catalogue import read_listing
from app.studio.store.state import lock_state
from app.studio.tables import NOW, batches, state

_SHOWN = (
    batches.c.run_id,
    batches.c.kind,
    batches.c.status,
    batches.c.success,
    batches.c.request,
    batches.c.outcome,
    batches.c.firing,
    batches.c.started_at,
    batches.c.finished_at,
)


@dataclass(frozen=True)
class BatchClaim:
    """A batch that is about to start.

    Args:
        kind: `daily` or `manual`.
        firing: the schedule's instant it is started for.
        try_number: which try of that instant, from 1.
    """

    kind: str
    owner: str
    request: dict[str, Any]
    firing: datetime | None = None
    try_number: int | None = None


@dataclass(frozen=True)
class Tally:
    """What a batch that counts adds to the counters.

    Args:
        what: `batch` or `generation`.
        result: what `/status` shows of the last one.
    """

    what: str
    result: dict[str, Any]

    def add_to(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Give the state row's new values."""
        total = {"batch": "total_batches", "generation": "total_generations"}[self.what]
        return {f"last_{self.what}_at": NOW, f"last_{self.what}_result": self.result, total: row[total] + 1}


class PgBatches:
    """Keep batches."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def claim(self, connection: sa.Connection, claim: BatchClaim) -> int | None:
        """Write a batch that is about to start, in the transaction that starts its run.

        Waits while another transaction does the same.

        Returns:
            Its id; None when a daily batch is active, or when this try of the schedule was made already.
        """
        statement = insert(batches).values(
            kind=claim.kind, owner=claim.owner, request=claim.request, firing=claim.firing, try_number=claim.try_number
        )
        return connection.execute(statement.on_conflict_do_nothing().returning(batches.c.batch_id)).scalar_one_or_none()

    def bind(self, connection: sa.Connection, batch_id: int, run_id: str) -> None:
        """Say which run a batch is."""
        connection.execute(batches.update().where(batches.c.batch_id == batch_id).values(run_id=run_id))

    def active_run(self, connection: sa.Connection) -> str | None:
        """Give the run of the active daily batch."""
        active = (batches.c.kind == "daily") & (batches.c.status == "active")
        return connection.execute(sa.select(batches.c.run_id).where(active)).scalar_one_or_none()

    def step_aside(self, connection: sa.Connection, run_id: str, status: str) -> None:
        """Let a batch whose run is paused, or ended without a report, no longer be the active one."""
        mine = (batches.c.run_id == run_id) & (batches.c.status == "active")
        values: dict[str, Any] = {"status": status}
        if status == "ended":
            values |= {"success": False, "finished_at": NOW}
        connection.execute(batches.update().where(mine).values(**values))

    def join(self, connection: sa.Connection, run_id: str, owner: str) -> None:
        """Let one more owner read a batch's run."""
        new = (batches.c.run_id == run_id) & (batches.c.owner != owner) & ~batches.c.joiners.contains([owner])
        more = batches.c.joiners.concat(sa.cast([owner], JSONB))
        connection.execute(batches.update().where(new).values(joiners=more))

    def may_read(self, run_id: str, owner: str) -> bool:
        """Whether somebody started or joined a batch."""
        allowed = (batches.c.owner == owner) | batches.c.joiners.contains([owner])
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.exists().where(batches.c.run_id == run_id, allowed))).scalar_one()

    def finish(self, run_id: str, outcome: Mapping[str, Any], tally: Tally | None) -> None:
        """Write what came of a batch, and count it once however often its report is written."""
        mine = batches.c.run_id == run_id
        with self._engine.begin() as connection:
            entry = connection.execute(sa.select(batches.c.counted_at).where(mine).with_for_update()).one_or_none()
            if entry is None:
                return  # the agents can be used in any workflow; only a batch has an entry
            counts = tally is not None and entry.counted_at is None
            values = {"status": "ended", "outcome": dict(outcome), "success": outcome["success"], "finished_at": NOW}
            connection.execute(
                batches.update().where(mine).values({**values, **({"counted_at": NOW} if counts else {})})
            )
            if tally is not None and counts:
                row = lock_state(connection)
                connection.execute(state.update().values(tally.add_to(row)))

    def list_batches(self, page: int, page_size: int) -> Listing:
        """Give a page of batches, newest first."""
        query = sa.select(*_SHOWN).where(batches.c.run_id.is_not(None)).order_by(batches.c.batch_id.desc())
        return read_listing(self._engine, query, page, page_size)

    def tries_for(self, firing: datetime) -> Tried:
        """Say what was tried for an instant of the schedule."""
        daily = batches.c.kind == "daily"
        tried = sa.select(sa.func.count(), sa.func.max(batches.c.finished_at)).where(batches.c.firing == firing)
        active = sa.select(sa.exists().where(daily, batches.c.status == "active"))
        done = sa.select(sa.exists().where(daily, batches.c.success.is_(True), batches.c.finished_at >= firing))
        with self._engine.connect() as connection:
            tries, last_ended_at = connection.execute(tried).one()
            return Tried(
                tries, last_ended_at, connection.execute(active).scalar_one(), connection.execute(done).scalar_one()
            )
