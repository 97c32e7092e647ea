"""Delete what is old: ended runs nobody waits for any more. The ledger stays; it has no foreign key to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Engine

# Places that were of one run alone; whoever still holds one keeps it.
OLD_SLOTS = sa.text("""
delete from slots where run_id is null and name ~ '^(images|film):'
    and not exists (select 1 from runs r where r.run_id = cast(split_part(slots.name, ':', 2) as uuid))
""")
LIMIT = 500  # runs in one transaction

# A run is kept while its callback is on its way or an Idempotency-Key still answers with it.
OLD_RUNS = sa.text("""
delete from runs where run_id in (
    select r.run_id from runs r
    where r.finished_at < clock_timestamp() - make_interval(secs => :age_s)
      and not exists (select 1 from outbox o where o.run_id = r.run_id and o.status = 'pending')
      and not exists (select 1 from idempotency i where i.run_id = r.run_id and i.expires_at > clock_timestamp())
    order by r.finished_at limit :limit for update skip locked)
""")


# What was asked and answered goes; what it cost stays.
FORGET_CALLS = sa.text("""
update calls set request = '{}', response = null, error = null where run_id = any(cast(:runs as uuid[]))
""")
FORGET_RUNS = sa.text("""
delete from runs r where run_id = any(cast(:runs as uuid[])) and finished_at is not null
  and not exists (select 1 from outbox o where o.run_id = r.run_id and o.status = 'pending')
returning run_id::text
""")


PAUSED = sa.text("""
select run_id::text from runs where run_id = any(cast(:runs as uuid[])) and status in ('paused', 'paused_budget')
""")


def paused_among(engine: Engine, run_ids: Sequence[str]) -> list[str]:
    """List those of some runs that go on only when somebody lets them."""
    with engine.connect() as connection:
        return list(connection.execute(PAUSED, {"runs": list(run_ids)}).scalars())


def forget_runs(engine: Engine, run_ids: Sequence[str]) -> int:
    """Delete runs with every text of them, as somebody wishes who may: the ledger keeps their figures.

    Args:
        engine: the process's pool.
        run_ids: those that go on, or whose callback is on its way, stay; ask again later.

    Returns:
        How many went.
    """
    with engine.begin() as connection:
        gone = list(connection.execute(FORGET_RUNS, {"runs": list(run_ids)}).scalars())
        connection.execute(FORGET_CALLS, {"runs": gone})
    return len(gone)


def delete_old_runs(engine: Engine, *, age_days: float) -> int:
    """Delete ended runs over an age, with their steps, events and deliveries.

    Args:
        engine: the process's pool.
        age_days: days since the run ended.

    Returns:
        How many went.
    """
    deleted = 0
    while True:
        with engine.begin() as connection:
            count = connection.execute(OLD_RUNS, {"age_s": age_days * 86_400, "limit": LIMIT}).rowcount
            connection.execute(OLD_SLOTS)
        deleted += count
        if count < LIMIT:
            return deleted
