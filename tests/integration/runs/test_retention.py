"""What is deleted with time, and what is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.runs.retention import delete_old_runs
from tests.engine.desk import Desk
from tests.engine.documents import inline, linear, tool


def old_run(desk: Desk, **options: Any) -> str:
    run_id = desk.submit([inline(tool("mark", "a"))], **options)
    desk.hand().perform(run_id, "a")
    desk.write("update runs set finished_at = clock_timestamp() - interval '40 days' where run_id = :r", r=run_id)
    return run_id


def count(desk: Desk, table: str) -> int:
    return int(desk.read(f"select count(*) from {table}")[0][0])


def test_old_runs_go_with_all_that_is_theirs_and_the_ledger_stays(desk: Desk) -> None:
    run_id = desk.submit([inline({"id": "a", "model": "fast_ai", "prompt": "?"})], callback_url="http://x.example/")
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    hand.reserve(step, "0.5")
    hand.answer(step, 1, "0.5")
    hand.finish(step)
    desk.write("update runs set finished_at = clock_timestamp() - interval '40 days'")
    desk.write("update outbox set status = 'delivered'")
    assert delete_old_runs(desk.engine, age_days=30) == 1
    assert [count(desk, table) for table in ("runs", "run_inputs", "blocks", "steps", "events", "outbox")] == [0] * 6
    assert desk.read("select cost_usd from calls") == [(Decimal("0.5"),)]
    assert desk.read("select distinct spent_usd from budgets") == [(Decimal("0.5"),)]


def test_a_run_that_has_not_ended_stays_however_old(desk: Desk) -> None:
    desk.submit([inline(tool("mark", "a"))])
    desk.write("update runs set created_at = clock_timestamp() - interval '400 days'")
    assert delete_old_runs(desk.engine, age_days=30) == 0


def test_a_run_that_was_begun_again_stays(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"))])
    hand = desk.hand()
    hand.fail(hand.must_claim(run_id, "a"))
    desk.write("update runs set finished_at = clock_timestamp() - interval '40 days'")
    desk.command(run_id, "retry")
    assert delete_old_runs(desk.engine, age_days=30) == 0


def test_a_run_stays_while_its_callback_is_on_its_way(desk: Desk) -> None:
    old_run(desk, callback_url="http://x.example/")
    assert delete_old_runs(desk.engine, age_days=30) == 0
    desk.write("update outbox set status = 'failed'")
    assert delete_old_runs(desk.engine, age_days=30) == 1


@pytest.mark.parametrize(("life", "deleted"), [("1 hour", 0), ("-1 hour", 1)])
def test_a_run_stays_while_a_key_still_answers_with_it(desk: Desk, life: str, deleted: int) -> None:
    run_id = old_run(desk)
    desk.write(
        "insert into idempotency (owner, route, key, body_hash, claim_id, claimed_at, run_id, expires_at) "
        f"values ('o', 'r', 'k', 'h', gen_random_uuid(), now(), '{run_id}', clock_timestamp() + interval '{life}')"
    )
    assert delete_old_runs(desk.engine, age_days=30) == deleted


def test_young_runs_stay_and_more_than_a_lot_go_in_several_transactions(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.runs.retention.LIMIT", 2)
    for _ in range(5):
        old_run(desk)
    young = desk.submit([inline(tool("mark", "a"))])
    desk.hand().perform(young, "a")
    assert delete_old_runs(desk.engine, age_days=30) == 5
    assert desk.read("select run_id::text from runs") == [(young,)]
