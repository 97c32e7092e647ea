"""Sums over a real ledger: what monitors and people are told."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from app.runs.tables import calls
from app.usage.model import CallGroup
from app.usage.service import UsageService
from app.usage.store import PgUsage

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
YESTERDAY = NOW - dt.timedelta(days=1)
LONG_AGO = NOW - dt.timedelta(days=40)


def call(engine: sa.Engine, sent_at: dt.datetime, **more: Any) -> None:
    row = {
        "run_id": str(uuid.uuid4()),
        "step_key": "0.0",
        "ordinal": 1,
        "owner": "local",
        "kind": "chat",
        "provider": "openai",
        "model": "fast_ai",
        "status": "answered",
        "request": {},
        "estimate_usd": Decimal("0.01"),
        "cost_usd": Decimal("0.002"),
        "input_tokens": 10,
        "output_tokens": 5,
        "sent_at": sent_at,
        "answered_at": sent_at + dt.timedelta(seconds=3),
        **more,
    }
    with engine.begin() as connection:
        connection.execute(sa.insert(calls).values(**row))


@pytest.fixture
def usage(engine: sa.Engine) -> UsageService:
    return UsageService(PgUsage(engine), now=lambda: NOW)


def test_an_empty_ledger_sums_up_to_nothing(usage: UsageService) -> None:
    assert usage.totals().groups == {}
    assert usage.models() == {}
    assert usage.costs().today_usd == 0
    assert usage.costs().average_per_video_usd is None
    assert usage.in_flight() == {}
    assert usage.committed_today_usd() == 0


def test_days_that_are_over_are_summed_once_and_todays_calls_join_them(engine: sa.Engine, usage: UsageService) -> None:
    call(engine, LONG_AGO)
    call(engine, NOW - dt.timedelta(hours=1), cache_read_tokens=30)
    group = CallGroup("openai", "fast_ai", "chat")
    first = usage.totals().groups[group]
    assert first.by_status == {"answered": 2, "rejected": 0, "failed": 0, "unknown": 0}
    assert first.tokens == {"input": 20, "output": 10, "cache_read": 30, "cache_write": 0}
    assert first.cost_usd == Decimal("0.004")
    call(engine, LONG_AGO)  # nobody writes into a day that is over; were it read again, this would show
    call(engine, NOW - dt.timedelta(minutes=1))
    assert usage.totals().groups[group].by_status["answered"] == 3


def test_a_call_under_way_is_counted_when_it_is_settled(engine: sa.Engine, usage: UsageService) -> None:
    call(engine, NOW - dt.timedelta(minutes=1), status="sent", answered_at=None, cost_usd=None)
    assert usage.totals().groups == {}
    assert usage.in_flight() == {("openai", "fast_ai"): 1}


def test_answer_times_fall_into_buckets_and_add_up(engine: sa.Engine, usage: UsageService) -> None:
    sent_at = NOW - dt.timedelta(hours=1)
    for seconds in (0.1, 3, 400):
        call(engine, sent_at, answered_at=sent_at + dt.timedelta(seconds=seconds))
    call(engine, sent_at, status="failed", cost_usd=0)
    (sums,) = usage.totals().groups.values()
    assert sums.durations == (1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1)
    assert sums.seconds == pytest.approx(403.1)


def test_a_stand_in_and_a_repetition_are_counted_by_their_question(engine: sa.Engine, usage: UsageService) -> None:
    run_id = str(uuid.uuid4())
    question = {"run_id": run_id, "step_key": "a"}
    call(engine, YESTERDAY, **question, ordinal=1, model="thinking_ai", status="failed")
    call(engine, YESTERDAY, **question, ordinal=2, model="medium_ai")
    call(engine, YESTERDAY, **question, ordinal=3, model="fast_ai", part=1)
    totals = usage.totals()
    assert totals.fallbacks == {("thinking_ai", "medium_ai"): 1}
    assert totals.groups[CallGroup("openai", "medium_ai", "chat")].repeated == 1


def test_a_model_is_judged_by_its_last_day(engine: sa.Engine, usage: UsageService) -> None:
    call(engine, LONG_AGO, status="failed")
    sent_at = NOW - dt.timedelta(hours=2)
    for seconds in range(1, 10):
        call(
            engine, sent_at, answered_at=sent_at + dt.timedelta(seconds=seconds), input_tokens=40, cache_read_tokens=60
        )
    call(engine, sent_at, status="unknown", answered_at=None, input_tokens=0, output_tokens=0)
    usage_now = usage.models()["fast_ai"]
    assert (usage_now.calls, usage_now.errors, usage_now.error_rate) == (10, 1, 0.1)
    assert (usage_now.p50_s, usage_now.cache_hit_rate) == (5.0, 0.6)
    assert usage_now.tokens == 9 * 105


def test_costs_begin_at_midnight(engine: sa.Engine, usage: UsageService) -> None:
    call(engine, NOW - dt.timedelta(hours=1))
    call(engine, NOW - dt.timedelta(hours=13))
    call(engine, NOW - dt.timedelta(days=6))
    call(engine, NOW - dt.timedelta(days=7))
    costs = usage.costs()
    assert (costs.today_usd, costs.last_7_days_usd) == (Decimal("0.002"), Decimal("0.006"))
