"""What chats teach: SQL that reads turns for whoever learns from them, and for whoever asks what routing saved."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.chat.agents import ANSWER_PART
from app.chat.model import FIRST_STEP, Category, CategorySource
from app.chat.routing import LADDER, TRIED
from app.chat.savings import Savings, Share
from app.chat.tables import chat_turns as turns
from app.runs.tables import calls

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection, Engine

MOST_READ = 20_000
"""Newest turns that a training reads: more would not be fresher, and texts take memory."""

_SINGLE = sa.and_(turns.c.category.in_([Category.L, Category.M]), turns.c.model.in_(LADDER))
# A judged letter counts whoever said it, a model's unless the answer was bad: then the letter may be why.
_TAUGHT = sa.or_(
    sa.and_(turns.c.sorted_by == CategorySource.MODEL, turns.c.good.isnot(sa.false())),
    sa.and_(turns.c.sorted_by == CategorySource.LOCAL, turns.c.good.is_(sa.true())),
)
_HAS_TEXT = sa.and_(turns.c.asked.is_not(None), turns.c.answered_at.is_not(None))
# By the ledger, the answer's own question alone: a receipt's dollars hold the category and the summary too.
_ANSWER_USD = (
    sa.select(sa.func.sum(calls.c.cost_usd))
    .where(calls.c.run_id == turns.c.run_id, calls.c.step_key == FIRST_STEP, calls.c.part == ANSWER_PART)
    .where(calls.c.model == turns.c.model, calls.c.status == "answered")
    .scalar_subquery()
    .label("answer_usd")
)

SAVINGS = sa.text("""
with single as (
    select *, not holdout and model <> 'thinking_ai' as routed,
        not holdout and moved_from is not null and strpos(reason, :tried) = 0 as moved,
        holdout and held_from <> 'thinking_ai' as kept_routed,
        holdout and held_from <> case category when 'M' then 'medium_ai' else 'thinking_ai' end as kept_moved
    from chat_turns
    where answered_at is not null and category in ('L', 'M') and created_at >= :since
)
select count(*) as requests, count(*) filter (where moved) as moved, count(*) filter (where holdout) as held_out,
    coalesce(sum(cost_usd), 0) as spent, coalesce(sum(saved_usd), 0) as saved,
    count(good) filter (where routed) as routed_judged, count(*) filter (where routed and good) as routed_good,
    count(good) filter (where kept_routed) as kept_routed_judged,
    count(*) filter (where kept_routed and good) as kept_routed_good,
    count(good) filter (where moved) as moved_judged, count(*) filter (where moved and good) as moved_good,
    count(good) filter (where kept_moved) as kept_moved_judged,
    count(*) filter (where kept_moved and good) as kept_moved_good
from single
""")


@dataclass(frozen=True)
class Letter:
    """A message and the letter it was given, which nobody has called into doubt."""

    message: str
    category: str
    at_s: float


@dataclass(frozen=True)
class Verdict:
    """A message, its category, the model that answered it, whether that was good, and what the answer cost.

    Args:
        usd: of the answer alone; None where no call of that model was paid for it, as for an answer that was kept.
    """

    message: str
    category: str
    model: str
    good: bool
    at_s: float
    usd: float | None = None


class PgChatLessons:
    """Turns as lessons.

    Args:
        engine: the process's pool.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def count_letters(self, connection: Connection, since: datetime | None) -> tuple[int, datetime | None]:
        """Count the letters after a moment that can be learned from; with them, when the newest was said."""
        return _count(connection, turns.c.created_at, since, _TAUGHT)

    def read_letters(self, connection: Connection) -> list[Letter]:
        """Read the newest letters, oldest of them first."""
        query = _newest(turns.c.created_at, _TAUGHT, turns.c.category)
        return [Letter(row.message, row.category, float(row.at_s)) for row in reversed(connection.execute(query).all())]

    def count_verdicts(self, connection: Connection, since: datetime | None) -> tuple[int, datetime | None]:
        """Count the verdicts after a moment on answers of one model; with them, when the newest was given."""
        return _count(connection, turns.c.judged_at, since, sa.and_(_SINGLE, turns.c.judged_at.is_not(None)))

    def read_verdicts(self, connection: Connection) -> list[Verdict]:
        """Read the newest verdicts, oldest of them first."""
        judged = sa.and_(_SINGLE, turns.c.judged_at.is_not(None))
        columns = (turns.c.category, turns.c.model, turns.c.good, _ANSWER_USD)
        return [
            Verdict(row.message, row.category, row.model, row.good, float(row.at_s), _dollars(row.answer_usd))
            for row in reversed(connection.execute(_newest(turns.c.judged_at, judged, *columns)).all())
        ]

    def savings(self, since: datetime) -> Savings:
        """Sum up what routing saved, over messages that one model answers."""
        with self.engine.connect() as connection:
            row = connection.execute(SAVINGS, {"since": since, "tried": TRIED}).one()
        return Savings(
            since=since,
            requests=row.requests,
            moved=row.moved,
            held_out=row.held_out,
            spent_usd=Decimal(row.spent),
            saved_usd=Decimal(row.saved),
            cheaper=(Share(row.routed_good, row.routed_judged), Share(row.kept_routed_good, row.kept_routed_judged)),
            scored=(Share(row.moved_good, row.moved_judged), Share(row.kept_moved_good, row.kept_moved_judged)),
        )


def _count(
    connection: Connection, moment: sa.Column[Any], since: datetime | None, condition: sa.ColumnElement[bool]
) -> tuple[int, datetime | None]:
    later = sa.true() if since is None else moment > since
    query = sa.select(sa.func.count(), sa.func.max(moment)).where(_HAS_TEXT, condition, later)
    row = connection.execute(query).one()
    return int(row[0]), row[1]


def _dollars(found: Decimal | None) -> float | None:
    return None if found is None else float(found)


def _newest(
    moment: sa.Column[Any], condition: sa.ColumnElement[bool], *columns: sa.ColumnElement[Any]
) -> sa.Select[Any]:
    message = turns.c.asked["message"].astext.label("message")
    at_s = sa.func.extract("epoch", moment).label("at_s")
    query = sa.select(message, at_s, *columns).where(_HAS_TEXT, condition)
    return query.order_by(moment.desc(), turns.c.run_id).limit(MOST_READ)
