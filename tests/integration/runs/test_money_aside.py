"""A question beside a step's own work, such as the explanation of its failure: paid for, and never in the way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.engine.desk import Desk, Hand
from tests.engine.documents import inline, tool

PART = 1_000_001


def aside(hand: Hand, step: Any, estimate: str, **more: Any) -> dict[str, Any]:
    return hand.reserve(step, estimate, model="ai_workers_failed_ai", part=PART, aside=True, **more)


def step_row(desk: Desk, run_id: str) -> tuple[Any, ...]:
    [row] = desk.read("select status, model, cost_usd from steps where run_id = :run and key = 'a'", run=run_id)
    return row


def begin(desk: Desk, **options: Any) -> tuple[str, Hand, Any]:
    run_id = desk.submit([inline(tool("mark", "a"))], **options)
    hand = desk.hand()
    return run_id, hand, hand.must_claim(run_id, "a")


def test_it_is_paid_for_as_a_part_of_its_own_and_the_step_keeps_its_model(desk: Desk) -> None:
    run_id, hand, step = begin(desk)
    hand.reserve(step, "0.1")
    hand.answer(step, 1, "0.05")
    ordinal = aside(hand, step, "0.2")["ordinal"]
    hand.answer(step, ordinal, "0.01")
    assert step_row(desk, run_id) == ("running", "fast_ai", Decimal("0.06"))
    hand.fail(step)
    assert desk.status(run_id) == "failed"
    assert desk.run_row(run_id).spent_usd == Decimal("0.06")
    desk.check(run_id)


def test_without_money_it_is_left_out_and_nothing_waits(desk: Desk) -> None:
    run_id, hand, step = begin(desk, max_cost_usd="0.1")
    assert aside(hand, step, "0.2") == {"parked": True, "budget": "run"}
    assert step_row(desk, run_id)[0] == "running"
    assert desk.status(run_id) == "running"
    assert desk.run_row(run_id).reserved_usd == 0
    hand.fail(step)
    assert desk.status(run_id) == "failed"
    desk.check(run_id)


def test_beyond_the_days_limits_it_is_left_out_and_nothing_stays_reserved(desk: Desk) -> None:
    run_id, hand, step = begin(desk)
    for caps in ({"day_cap_usd": "0.1"}, {"day_cap_usd": "9", "owner_cap_usd": "0.1"}):
        assert aside(hand, step, "0.2", **caps)["parked"] is True
    assert desk.status(run_id) == "running"
    assert desk.read("select coalesce(sum(reserved_usd), 0) from budgets") == [(0,)]
    hand.fail(step)
    desk.check(run_id)


def test_of_a_cancelled_run_it_is_left_out_and_the_step_ends_as_it_ended(desk: Desk) -> None:
    run_id, hand, step = begin(desk)
    with desk.engine.begin() as connection:
        connection.exec_driver_sql("update runs set cancel_requested = true")
    assert aside(hand, step, "0.2") == {"fenced": True}
    assert step_row(desk, run_id)[0] == "running"
    hand.fail(step)
    assert step_row(desk, run_id)[0] == "failed"
