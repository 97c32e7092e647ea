"""Reads of the ledger for people and monitors; nothing here writes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.usage.model import DURATION_BUCKETS_S, CallGroup, CallSums, Costs, ModelUsage, Totals

if TYPE_CHECKING:
    import datetime as dt

    from sqlalchemy.engine import Engine, Row

ZERO = Decimal(0)

DURATIONS = ", ".join(
    f"count(*) filter (where status in ('answered', 'rejected') and width_bucket(took_s, :edges) = {place})"
    for place in range(len(DURATION_BUCKETS_S) + 1)
)
GROUPS = sa.text(f"""
with settled as (
    select *, extract(epoch from answered_at - sent_at)::float as took_s,
        coalesce(nullif(agent, ''), kind) as stage
    from calls where sent_at >= :since and sent_at < :until and status <> 'sent'
)
select provider, model, stage,
    count(*) filter (where status = 'answered') as answered, count(*) filter (where status = 'rejected') as rejected,
    count(*) filter (where status = 'failed') as failed, count(*) filter (where status = 'unknown') as unknown,
    sum(input_tokens) as input, sum(output_tokens) as output, sum(cache_read_tokens) as cache_read,
    sum(cache_write_5m_tokens + cache_write_1h_tokens) as cache_write, coalesce(sum(cost_usd), 0) as cost_usd,
    coalesce(sum(took_s) filter (where status in ('answered', 'rejected')), 0) as seconds,
    count(*) filter (where ordinal > 1) as repeated, array[{DURATIONS}] as durations
from settled group by provider, model, stage
""")  # noqa: S608 - only places in a list are filled in

FALLBACKS = sa.text("""
select before, model, count(*) as times from (
    select model, lag(model) over (partition by run_id, step_key, part order by ordinal) as before
    from calls where sent_at >= :since and sent_at < :until
) c where before <> model group by before, model
""")

MODELS = sa.text("""
select model, count(*) as calls, count(*) filter (where status in ('failed', 'unknown')) as errors,
    percentile_cont(0.5) within group (order by extract(epoch from answered_at - sent_at)::float)
        filter (where status in ('answered', 'rejected')) as p50_s,
    percentile_cont(0.95) within group (order by extract(epoch from answered_at - sent_at)::float)
        filter (where status in ('answered', 'rejected')) as p95_s,
    sum(input_tokens + output_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens) as tokens,
    coalesce(sum(cost_usd), 0) as cost_usd, sum(cache_read_tokens) as cache_read,
    sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens) as prompt
from calls where sent_at >= :since and status <> 'sent' group by model
""")

COSTS = sa.text("""
select coalesce(sum(cost_usd) filter (where sent_at >= :today), 0) as today, coalesce(sum(cost_usd), 0) as week
from calls where sent_at >= :week
""")
VIDEO_COST = sa.text("select avg(spent_usd) from runs where kind = 'video' and status in ('completed', 'partial')")
IN_FLIGHT = sa.text(
    "select provider, model, count(*) from calls where status = 'sent' and sent_at >= :since group by 1, 2"
)
RUNS = sa.text("select status, count(*) from runs group by status")
FIRST_CALL = sa.text("select min(sent_at) from calls")
SPENT_TODAY = sa.text("""
select spent_usd + reserved_usd from budgets where name = '' and day = (clock_timestamp() at time zone 'utc')::date
""")
WORKERS = sa.text("select role, count(*) from processes where expires_at > clock_timestamp() group by role")


class PgUsage:
    """Sum the ledger up.

    Args:
        engine: the process's pool.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first_call_at(self) -> dt.datetime | None:
        """Tell when the ledger begins; None while it is empty."""
        return self._scalar(FIRST_CALL)  # type: ignore[no-any-return]  # a column of times

    def totals(self, since: dt.datetime, until: dt.datetime) -> Totals:
        """Sum the calls that were sent in a span, its end not included, and are settled."""
        values: dict[str, Any] = {"since": since, "until": until}
        edges = list(DURATION_BUCKETS_S)
        with self._engine.connect() as connection:
            groups = {_group(row): _sums(row) for row in connection.execute(GROUPS, {**values, "edges": edges})}
            stand_ins = {(row.before, row.model): row.times for row in connection.execute(FALLBACKS, values)}
        return Totals(groups, stand_ins)

    def models(self, since: dt.datetime) -> dict[str, ModelUsage]:
        """Say how each model did since a moment."""
        with self._engine.connect() as connection:
            return {row.model: _usage(row) for row in connection.execute(MODELS, {"since": since})}

    def costs(self, today: dt.datetime, week: dt.datetime) -> Costs:
        """Sum up what was spent since two moments, and what a video costs on average."""
        with self._engine.connect() as connection:
            row = connection.execute(COSTS, {"today": today, "week": week}).one()
            video = connection.execute(VIDEO_COST).scalar()
        return Costs(row.today, row.week, video)

    def in_flight(self, since: dt.datetime) -> dict[tuple[str, str], int]:
        """Count calls that were sent and not answered yet, by provider and model."""
        with self._engine.connect() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(IN_FLIGHT, {"since": since})}

    def runs_by_status(self) -> dict[str, int]:
        """Count the runs that are kept."""
        return self._counts(RUNS)

    def workers_by_role(self) -> dict[str, int]:
        """Count the processes whose lease holds."""
        return self._counts(WORKERS)

    def committed_today_usd(self) -> Decimal:
        """Give what the day's budget has spent and reserved."""
        return self._scalar(SPENT_TODAY) or ZERO

    def _counts(self, statement: sa.TextClause) -> dict[str, int]:
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def _scalar(self, statement: sa.TextClause) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(statement).scalar()


def _group(row: Row[Any]) -> CallGroup:
    return CallGroup(row.provider, row.model, row.stage)


def _sums(row: Row[Any]) -> CallSums:
    return CallSums(
        by_status={name: getattr(row, name) for name in ("answered", "rejected", "failed", "unknown")},
        tokens={name: int(getattr(row, name)) for name in ("input", "output", "cache_read", "cache_write")},
        cost_usd=row.cost_usd,
        durations=tuple(row.durations),
        seconds=row.seconds,
        repeated=row.repeated,
    )


def _usage(row: Row[Any]) -> ModelUsage:
    prompt = int(row.prompt)
    return ModelUsage(
        calls=row.calls,
        errors=row.errors,
        p50_s=row.p50_s,
        p95_s=row.p95_s,
        tokens=int(row.tokens),
        cost_usd=row.cost_usd,
        cache_hit_rate=int(row.cache_read) / prompt if prompt else 0.0,
    )
