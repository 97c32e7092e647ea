"""All SQL of pooling but the pooling itself, which is the journal's: `app/runs/sql/45_pooling.sql`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.pooling.model import PooledCall, VendorBatch

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine, Row

    from app.pooling.model import PoolingLimits

# Who forms batches holds this for its transaction; a second one finds nothing to do.
FORMING = sa.text("select pg_try_advisory_xact_lock(hashtext('batuta.pooling'))")
# A question of a run that was cancelled, or that was settled in another way, is not asked any more.
STALE = sa.text("""
delete from pooled_calls p where batch_id is null and not exists (
    select 1 from calls c join runs r using (run_id)
    where c.run_id = p.run_id and c.step_key = p.step_key and c.ordinal = p.ordinal and c.status = 'sent'
      and not r.cancel_requested)
returning run_id::text, step_key, ordinal
""")
RIPE = sa.text("""
select provider, model from pooled_calls where batch_id is null group by provider, model
having count(*) >= :most or min(pooled_at) <= clock_timestamp() - make_interval(secs => :gather_s)
""")
FORM = sa.text("""
with chosen as (
    select item_id, live_at from pooled_calls where batch_id is null and provider = :provider and model = :model
    order by item_id limit :most for update
), made as (
    insert into vendor_batches (provider, model, mark, live_at)
    select :provider, :model, :mark, min(live_at) from chosen returning batch_id
)
update pooled_calls p set batch_id = made.batch_id from made, chosen where p.item_id = chosen.item_id
""")
TAKE = sa.text("""
update vendor_batches set owner = :process where batch_id = (
    select batch_id from vendor_batches where status <> 'ended' and due_at <= clock_timestamp()
        and (owner = :process or batuta_owner_is_dead(owner, make_interval(secs => :lease_s)))
    order by due_at limit 1 for update skip locked)
returning batch_id, provider, model, mark, vendor_id, tries, cancel_asked_at is not null as cancel_asked,
    live_at <= clock_timestamp() + make_interval(secs => :margin_s) as is_late,
    least(cancel_asked_at, live_at) <= clock_timestamp() - make_interval(secs => :stop_s) as is_given_up
""")
ITEMS = sa.text("""
select p.item_id, p.run_id::text, p.step_key, p.ordinal, c.model as logical, c.request, c.estimate_usd
from pooled_calls p join calls c on c.run_id = p.run_id and c.step_key = p.step_key and c.ordinal = p.ordinal
where p.batch_id = :batch_id order by p.item_id
""")
# Before it is handed in: if this process dies at it, the next one looks for it at the vendor first.
TRYING = sa.text("update vendor_batches set tries = tries + 1 where batch_id = :batch_id")
SUBMITTED = sa.text("""
update vendor_batches set status = 'submitted', vendor_id = :vendor_id, submitted_at = clock_timestamp(),
    due_at = clock_timestamp() + make_interval(secs => :poll_s), owner = null, last_error = null
where batch_id = :batch_id
""")
NAMED = sa.text("""
update calls c set vendor_job_id = 'batch:' || :vendor_id from pooled_calls p
where p.batch_id = :batch_id and c.run_id = p.run_id and c.step_key = p.step_key and c.ordinal = p.ordinal
""")
LATER = sa.text("""
update vendor_batches set due_at = clock_timestamp() + make_interval(secs => :in_s), owner = null,
    last_error = coalesce(:error, last_error)
where batch_id = :batch_id
""")
STOPPING = sa.text("""
update vendor_batches set cancel_asked_at = clock_timestamp(),
    due_at = clock_timestamp() + make_interval(secs => :poll_s), owner = null where batch_id = :batch_id
""")
ENDED = sa.text("""
update vendor_batches set status = 'ended', ended_at = clock_timestamp(), last_error = coalesce(:error, last_error)
where batch_id = :batch_id
""")
FORGET = sa.text("delete from pooled_calls where batch_id = :batch_id")
OLD = sa.text("delete from vendor_batches where status = 'ended' and ended_at < clock_timestamp() - interval '30 days'")
COUNTS = sa.text("select count(*) filter (where batch_id is null), count(*) from pooled_calls")


class PgPool:
    """Questions and batches in PostgreSQL; every method is one short transaction.

    Args:
        engine: the process's pool.
        limits: when batches are closed and watched.
        process_id: looks after one batch after the other; its lease says that it does.
        lease_s: length of a lease.
    """

    def __init__(self, engine: Engine, limits: PoolingLimits, *, process_id: str, lease_s: float) -> None:
        self._engine = engine
        self._limits = limits
        self._process = {"process": process_id, "lease_s": lease_s}

    def form_batches(self) -> list[PooledCall]:
        """Close batches that are due.

        Returns:
            Questions that nobody waits for any more; they are out of the pool, and in no batch.
        """
        limits = self._limits
        with self._engine.begin() as connection:
            if not connection.execute(FORMING).scalar():
                return []
            stale = [PooledCall(0, row.run_id, row.step_key, row.ordinal, "", {}) for row in connection.execute(STALE)]
            ripe = connection.execute(RIPE, {"most": limits.most, "gather_s": limits.gather_s}).all()
            for row in ripe:
                values = {"provider": row.provider, "model": row.model, "mark": uuid.uuid4().hex, "most": limits.most}
                connection.execute(FORM, values)
        return stale

    def take_due(self) -> VendorBatch | None:
        """Take a batch that is due into care; None when there is none."""
        values = {**self._process, "margin_s": self._limits.margin_s, "stop_s": self._limits.stop_s}
        with self._engine.begin() as connection:
            row = connection.execute(TAKE, values).one_or_none()
        return None if row is None else VendorBatch(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name

    def read_items(self, batch_id: int) -> list[PooledCall]:
        """List the questions of a batch."""
        with self._engine.connect() as connection:
            return [_item(row) for row in connection.execute(ITEMS, {"batch_id": batch_id})]

    def note_try(self, batch_id: int) -> None:
        """Write down that a batch is about to be handed in."""
        self._write(TRYING, batch_id=batch_id)

    def note_submitted(self, batch_id: int, vendor_id: str) -> None:
        """Keep the vendor's id, with the batch and with every call in it."""
        with self._engine.begin() as connection:
            values = {"batch_id": batch_id, "vendor_id": vendor_id}
            connection.execute(SUBMITTED, {**values, "poll_s": self._limits.poll_s})
            connection.execute(NAMED, values)

    def look_later(self, batch_id: int, in_s: float | None = None, error: str | None = None) -> None:
        """Give a batch back, to be looked at again; None waits as long as between two looks."""
        self._write(LATER, batch_id=batch_id, in_s=self._limits.poll_s if in_s is None else in_s, error=error)

    def note_stopping(self, batch_id: int) -> None:
        """Write down that the vendor was asked to stop."""
        self._write(STOPPING, batch_id=batch_id, poll_s=self._limits.poll_s)

    def end(self, batch_id: int, error: str | None = None) -> None:
        """Close a batch all of whose questions are settled."""
        with self._engine.begin() as connection:
            connection.execute(FORGET, {"batch_id": batch_id})
            connection.execute(ENDED, {"batch_id": batch_id, "error": error})

    def count(self) -> tuple[int, int]:
        """Count the questions that wait for a batch, and all that wait for an answer."""
        with self._engine.connect() as connection:
            waiting, pooled = connection.execute(COUNTS).one()
        return waiting, pooled

    def _write(self, statement: sa.TextClause, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(statement, values)


def _item(row: Row[Any]) -> PooledCall:
    return PooledCall(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def delete_old_batches(engine: Engine) -> int:
    """Delete batches that ended a month ago; returns how many."""
    with engine.begin() as connection:
        return connection.execute(OLD).rowcount
