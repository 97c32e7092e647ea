"""Calls and what they cost: reserved before, settled after, bought once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.runs.claimed import Claimed
from tests.engine.desk import Desk, Hand
from tests.engine.documents import inline, linear, tool


def ask(key: str) -> dict[str, Any]:
    return {"id": key, "model": "fast_ai", "prompt": "Well?"}


def calls(desk: Desk, run_id: str) -> list[tuple[Any, ...]]:
    return desk.read(
        "select step_key, ordinal, status, cost_usd from calls where run_id = :run order by step_key, ordinal",
        run=run_id,
    )


def reserve_one(desk: Desk) -> tuple[str, Hand, Claimed]:
    """A run of one step, the process that has it, and its claim, with a call of at most 0.4 dollars under way."""
    run_id = desk.submit([inline(ask("a"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    hand.reserve(step, "0.4")
    return run_id, hand, step


def test_a_call_is_written_before_it_is_sent_and_answered_in_its_place(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))], max_cost_usd="1")
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    assert hand.reserve(step, "0.4") == {"ordinal": 1}  # the request is to be sent as it was given
    row = desk.run_row(run_id)
    assert (row.spent_usd, row.reserved_usd) == (0, Decimal("0.4"))
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 3}
    assert hand.answer(step, 1, "0.1", usage=usage) == {"settled": True}
    row = desk.run_row(run_id)
    assert (row.spent_usd, row.reserved_usd, row.tokens) == (Decimal("0.1"), 0, 18)
    desk.check(run_id)


def test_an_answered_call_is_handed_to_the_next_try_and_not_bought_again(desk: Desk) -> None:
    run_id, dead, step = reserve_one(desk)
    heir = desk.hand()
    dead.answer(step, 1, "0.1")
    dead.die()
    again = heir.must_claim(run_id, "a")
    assert heir.do(again.operation("stored_calls"))[0]["calls"] == [
        {"ordinal": 1, "request": {"n": 1}, "answer": {"said": 1}, "cost_usd": 0.1}
    ]
    assert heir.reserve(again, "0.4")["answer"] == {"said": 1}
    assert len(calls(desk, run_id)) == 1
    desk.check(run_id)


def test_a_call_that_was_sent_and_never_answered_is_unknown_and_stays_spent_at_its_estimate(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))])
    dead, heir = desk.hand(), desk.hand()
    step = dead.must_claim(run_id, "a")
    dead.reserve(step, "0.4", request={"n": "as it was"})
    dead.die()
    again = heir.must_claim(run_id, "a")
    assert calls(desk, run_id) == [("a", 1, "unknown", Decimal("0.4"))]
    answer = heir.reserve(again, "0.4", request={"n": "rendered anew"})
    assert answer == {"ordinal": 2, "request": {"n": "as it was"}}
    assert desk.run_row(run_id).spent_usd == Decimal("0.4")
    desk.check(run_id)


def test_a_request_to_another_model_does_not_stand_in_for_the_one_that_is_asked_now(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))])
    dead, heir = desk.hand(), desk.hand()
    dead.reserve(dead.must_claim(run_id, "a"), "0.4", request={"model": "retired", "n": "as it was"})
    dead.die()
    again = heir.must_claim(run_id, "a")
    assert heir.reserve(again, "0.4", request={"model": "successor", "n": "rendered anew"}) == {"ordinal": 2}


def test_a_late_answer_settles_what_was_unknown_though_the_step_is_anothers(desk: Desk) -> None:
    run_id, dead, step = reserve_one(desk)
    heir = desk.hand()
    dead.die()
    again = heir.must_claim(run_id, "a")
    heir.reserve(again, "0.4")
    assert dead.answer(step, 1, "0.1") == {"settled": True}
    heir.answer(again, 2, "0.2")
    assert dead.answer(step, 1, "0.1") == {"settled": True}
    assert calls(desk, run_id) == [("a", 1, "answered", Decimal("0.1")), ("a", 2, "answered", Decimal("0.2"))]
    assert desk.run_row(run_id).spent_usd == Decimal("0.3")
    desk.check(run_id)


def test_an_answer_that_comes_after_the_run_has_ended_settles_too(desk: Desk) -> None:
    run_id, hand, step = reserve_one(desk)
    hand.fail(step)
    assert desk.status(run_id) == "failed"
    assert calls(desk, run_id) == [("a", 1, "unknown", Decimal("0.4"))]
    assert desk.run_row(run_id).reserved_usd == 0
    hand.answer(step, 1, "0.1")
    assert desk.run_row(run_id).spent_usd == Decimal("0.1")
    desk.check(run_id)


def test_an_unusable_answer_is_rejected_and_stays_paid_and_the_next_ordinal_asks_anew(desk: Desk) -> None:
    run_id, hand, step = reserve_one(desk)
    hand.answer(step, 1, "0.1")
    hand.answer(step, 1, "0", status="rejected", error={"message": "no JSON"})
    assert hand.reserve(step, "0.4", request={"n": 2}, replace=True) == {"ordinal": 2}
    hand.answer(step, 2, "0.2")
    assert [row[2] for row in calls(desk, run_id)] == ["rejected", "answered"]
    assert desk.run_row(run_id).spent_usd == Decimal("0.3")
    desk.check(run_id)


def test_a_retry_asks_anew_where_the_answers_could_not_be_used_and_they_stay_paid(desk: Desk) -> None:
    run_id, hand, step = reserve_one(desk)
    hand.answer(step, 1, "0.1")
    hand.answer(step, 1, "0", status="rejected", error={"message": "no JSON"})
    hand.fail(step, "unusable_answer")
    desk.command(run_id, "retry")
    again = hand.must_claim(run_id, "a")
    assert hand.do(again.operation("stored_calls"))[0]["calls"] == []
    assert hand.reserve(again, "0.4") == {"ordinal": 2}
    hand.answer(again, 2, "0.2")
    assert [call["ordinal"] for call in hand.do(again.operation("stored_calls"))[0]["calls"]] == [2]
    assert desk.run_row(run_id).spent_usd == Decimal("0.3")
    desk.check(run_id)


def test_a_retry_asks_anew_where_a_handler_could_make_nothing_of_an_answer(desk: Desk) -> None:
    run_id, hand, step = reserve_one(desk)
    hand.answer(step, 1, "0.1")
    error = {"code": "plan_invalid", "message": "no plan", "class": "logical"}
    hand.finish(step, status="failed", error=error)
    desk.command(run_id, "retry")
    again = hand.must_claim(run_id, "a")
    assert hand.do(again.operation("stored_calls"))[0]["calls"] == []
    assert hand.reserve(again, "0.4") == {"ordinal": 2}
    desk.check(run_id)


def test_a_retry_keeps_an_answer_that_was_paid_for_where_something_else_went_wrong(desk: Desk) -> None:
    run_id, hand, step = reserve_one(desk)
    hand.answer(step, 1, "0.1")
    hand.finish(step, status="failed", error={"code": "network", "message": "away", "class": "transient"})
    desk.command(run_id, "retry")
    again = hand.must_claim(run_id, "a")
    assert [call["ordinal"] for call in hand.do(again.operation("stored_calls"))[0]["calls"]] == [1]
    assert hand.reserve(again, "0.4")["ordinal"] == 1
    desk.check(run_id)


def test_a_call_that_failed_before_it_was_sent_costs_nothing(desk: Desk) -> None:
    run_id, hand, step = reserve_one(desk)
    hand.answer(step, 1, "0", status="failed")
    row = desk.run_row(run_id)
    assert (row.spent_usd, row.reserved_usd) == (0, 0)
    desk.check(run_id)


def test_a_job_with_a_vendors_id_is_attached_again_and_never_submitted_twice(desk: Desk) -> None:
    run_id, dead, step = reserve_one(desk)
    heir = desk.hand()
    dead.do(step.operation("answer_call", ordinal=1, vendor_job_id="job-7"))
    dead.die()
    again = heir.must_claim(run_id, "a")
    assert heir.reserve(again, "0.4")["vendor_job_id"] == "job-7"
    assert [row[:3] for row in calls(desk, run_id)] == [("a", 1, "sent")]
    heir.answer(again, 1, "0.3")
    desk.check(run_id)


def test_each_question_of_a_step_has_its_own_stored_answers(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    for part in (0, 1):
        ordinal = hand.reserve(step, "0.1", part=part)["ordinal"]
        hand.answer(step, ordinal, "0.1")
    stored = [hand.do(step.operation("stored_calls", part=part))[0]["calls"] for part in (0, 1)]
    assert [[call["ordinal"] for call in each] for each in stored] == [[1], [2]]


def test_a_call_over_the_cap_parks_its_step_and_pauses_the_run_and_a_top_up_goes_on(desk: Desk) -> None:
    run_id = desk.submit([linear(ask("a"), ask("b"), tool("mark", "c"))], max_cost_usd="0.5")
    hand = desk.hand()
    a, b, c = (hand.must_claim(run_id, key) for key in "abc")
    assert "ordinal" in hand.reserve(a, "0.4")
    assert hand.reserve(b, "0.4") == {"parked": True, "budget": "run"}
    assert desk.status(run_id) == "running"  # what is under way may cost less
    hand.answer(a, 1, "0.4")
    assert hand.reserve(hand.must_claim(run_id, "b"), "0.4") == {"parked": True, "budget": "run"}
    assert desk.status(run_id) == "paused_budget"
    hand.finish(a)
    hand.finish(c)
    desk.check(run_id)
    assert desk.command(run_id, "budget", max_cost_usd="0.9") == "running"
    assert [send.key for send in desk.messages if send.key == "b"] == ["b", "b"]  # at the start, and now
    again = hand.must_claim(run_id, "b")
    assert hand.reserve(again, "0.4")["ordinal"] == 1
    hand.answer(again, 1, "0.4")
    hand.finish(again)
    assert desk.status(run_id) == "completed"
    assert [row[:3] for row in calls(desk, run_id)] == [("a", 1, "answered"), ("b", 1, "answered")]
    desk.check(run_id)


def test_a_run_is_not_paused_while_calls_that_are_reserved_at_their_worst_may_leave_room(desk: Desk) -> None:
    run_id = desk.submit([linear(*(ask(f"s{n}") for n in range(30)))], max_cost_usd="1")
    hand = desk.hand()
    under_way: list[Claimed] = []
    waiting = [f"s{n}" for n in range(30)]
    most = 0
    while waiting or under_way:
        for key in list(waiting):
            step = hand.claim(run_id, key)
            if step is not None:
                waiting.remove(key)
                answer = hand.reserve(step, "0.3")
                if "ordinal" in answer:
                    under_way.append(step)
                else:
                    waiting.append(key)
        row = desk.run_row(run_id)
        assert row.spent_usd + row.reserved_usd <= 1
        most = max(most, len(under_way))
        settled = under_way.pop(0)
        hand.answer(settled, 1, "0.02")
        hand.finish(settled)
    assert most == 3
    assert desk.status(run_id) == "completed"
    assert desk.run_row(run_id).spent_usd == Decimal("0.6")
    assert ("run_paused_budget", None) not in desk.events(run_id)
    desk.check(run_id)


def test_a_step_that_waits_for_a_call_that_died_is_woken_by_recovery(desk: Desk) -> None:
    run_id = desk.submit([linear(ask("a"), ask("b"))], max_cost_usd="1")
    dead, hand = desk.hand(), desk.hand()
    dead.reserve(dead.must_claim(run_id, "a"), "0.7")
    assert hand.reserve(hand.must_claim(run_id, "b"), "0.4")["parked"] is True
    dead.die()
    hand.recover()
    hand.recover()
    assert hand.reserve(hand.must_claim(run_id, "b"), "0.4")["parked"] is True
    assert desk.status(run_id) == "paused_budget"
    desk.check(run_id)


def test_a_top_up_that_is_still_too_small_pauses_again(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))], max_cost_usd="0.1")
    hand = desk.hand()
    hand.reserve(hand.must_claim(run_id, "a"), "0.4")
    desk.command(run_id, "budget", max_cost_usd="0.2")
    hand.reserve(hand.must_claim(run_id, "a"), "0.4")
    assert desk.status(run_id) == "paused_budget"
    assert calls(desk, run_id) == []
    desk.check(run_id)


def test_a_cap_of_nothing_allows_no_call(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))], max_cost_usd="0")
    hand = desk.hand()
    assert hand.reserve(hand.must_claim(run_id, "a"), "0.000001")["parked"] is True
    assert desk.status(run_id) == "paused_budget"


DAY_CAPS = pytest.mark.parametrize(("caps", "word"), [({"day_cap_usd": "1"}, "day"), ({"owner_cap_usd": "1"}, "owner")])


@DAY_CAPS
def test_a_days_cap_holds_over_all_runs_and_gives_back_what_the_other_cap_had_reserved(
    desk: Desk, caps: dict[str, str], word: str
) -> None:
    hand = desk.hand()
    first = desk.submit([inline(ask("a"))])
    step = hand.must_claim(first, "a")
    assert "ordinal" in hand.reserve(step, "0.7", **caps)
    hand.answer(step, 1, "0.6")
    second = desk.submit([inline(ask("a"))])
    assert hand.reserve(hand.must_claim(second, "a"), "0.7", **caps) == {"parked": True, "budget": word}
    assert desk.status(second) == "paused_budget"
    assert desk.run_row(second).pause_reason == word
    assert desk.read("select name, spent_usd, reserved_usd from budgets order by name") == [
        ("", Decimal("0.6"), 0),
        ("tester", Decimal("0.6"), 0),
    ]
    assert desk.command(second, "resume") == "running"
    assert "ordinal" in hand.reserve(hand.must_claim(second, "a"), "0.3", **caps)
    desk.check(second)


@DAY_CAPS
def test_a_run_does_not_pause_for_the_day_while_calls_of_others_may_leave_room(
    desk: Desk, caps: dict[str, str], word: str
) -> None:
    hand = desk.hand()
    first, second = (desk.submit([inline(ask("a"))]) for _ in range(2))
    step = hand.must_claim(first, "a")
    hand.reserve(step, "0.7", **caps)
    assert hand.reserve(hand.must_claim(second, "a"), "0.7", **caps) == {"parked": True, "budget": word}
    assert desk.status(second) == "running"
    hand.answer(step, 1, "0.02")  # far under its worst case
    desk.write("update steps set not_before = clock_timestamp() where status = 'parked'")
    hand.recover()
    assert "ordinal" in hand.reserve(hand.must_claim(second, "a"), "0.7", **caps)
    desk.check(second)


def test_a_raised_cap_counts_as_soon_as_a_worker_starts_with_it(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))])
    hand = desk.hand()
    hand.reserve(hand.must_claim(run_id, "a"), "2", day_cap_usd="1")
    assert desk.status(run_id) == "paused_budget"
    hand.execute("select effects from batuta_retry_under_new_caps()")
    assert desk.status(run_id) == "running"
    assert "ordinal" in hand.reserve(hand.must_claim(run_id, "a"), "2", day_cap_usd="3")


def test_one_owners_cap_does_not_stop_another(desk: Desk) -> None:
    hand = desk.hand()
    for owner, parked in (("rich", False), ("rich", True), ("other", False)):
        run_id = desk.submit([inline(ask("a"))], owner=owner)
        assert hand.reserve(hand.must_claim(run_id, "a"), "0.7", owner_cap_usd="1").get("parked", False) is parked


def test_a_run_that_paused_for_the_day_goes_on_the_next_day(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))])
    hand = desk.hand()
    hand.reserve(hand.must_claim(run_id, "a"), "2", day_cap_usd="1")
    hand.recover()
    assert desk.status(run_id) == "paused_budget"
    desk.write("update events set at = at - interval '1 day'")
    hand.recover()
    assert desk.status(run_id) == "running"
    assert hand.claim(run_id, "a") is not None


def test_a_run_that_was_paused_by_a_person_and_by_money_waits_for_both(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))], max_cost_usd="0.1")
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    desk.command(run_id, "pause")
    hand.reserve(step, "0.4")
    assert desk.status(run_id) == "paused"
    assert desk.command(run_id, "budget", max_cost_usd="1") == "paused"
    assert desk.command(run_id, "resume") == "running"
    assert "ordinal" in hand.reserve(hand.must_claim(run_id, "a"), "0.4")
    desk.check(run_id)


def test_nothing_more_is_bought_for_a_cancelled_run(desk: Desk) -> None:
    run_id = desk.submit([inline(ask("a"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    desk.cancel(run_id)
    assert hand.reserve(step, "0.4") == {"fenced": True}
    assert calls(desk, run_id) == []
    assert desk.status(run_id) == "cancelled"
    desk.check(run_id)


def test_a_retry_of_a_failed_run_buys_nothing_twice(desk: Desk) -> None:
    run_id = desk.submit([linear(ask("a"), ask("b"))])
    hand = desk.hand()
    a, b = hand.must_claim(run_id, "a"), hand.must_claim(run_id, "b")
    for step in (a, b):
        hand.reserve(step, "0.4")
        hand.answer(step, 1, "0.1")
    hand.finish(a)
    hand.fail(b)
    desk.command(run_id, "retry")
    again = hand.must_claim(run_id, "b")
    assert hand.reserve(again, "0.4")["answer"] == {"said": 1}
    hand.finish(again)
    assert desk.run_row(run_id).spent_usd == Decimal("0.2")
    assert hand.claim(run_id, "a") is None
    desk.check(run_id)


REPORT_BY_COMPONENT = """
-- Daily cost summary
SELECT 
  DATE("createdAt") as date,
  component,
  SUM("costDollars") as total_cost,
  AVG("cacheHitRate") as avg_cache_hit
FROM cost_tracking
WHERE "createdAt" >= NOW() - INTERVAL '7 days'
GROUP BY DATE("createdAt"), component;
"""  # noqa: W291 - the callers' own text, to the letter
REPORT_BY_USER = """
-- User video count
SELECT 
  "userId",
  COUNT(DISTINCT "taskId") as videos_created,
  AVG("costDollars") as avg_cost
FROM cost_tracking
GROUP BY "userId"
ORDER BY videos_created DESC
LIMIT 20;
"""  # noqa: W291 - the same
HIT_RATE = """SELECT AVG("cacheHitRate") FROM cost_tracking WHERE component = 'writer'"""


def test_callers_own_reports_on_cost_tracking_run_as_they_stand(desk: Desk) -> None:
    hand = desk.hand()
    for user, cost in (("ann", "0.1"), ("ann", "0.3"), ("bob", "0.2")):
        run_id = desk.submit([inline(ask("a"))], subject={"userId": user})
        step = hand.must_claim(run_id, "a")
        hand.reserve(step, "0.4", agent="writer")
        hand.answer(step, 1, cost, usage={"input_tokens": 25, "cache_read_tokens": 75})
        hand.finish(step)
    lost = desk.submit([inline(ask("a"))], owner="carl")
    hand.reserve(hand.must_claim(lost, "a"), "0.4")
    [today] = desk.read("select date(clock_timestamp())")[0]
    assert desk.read(REPORT_BY_COMPONENT) == [(today, "writer", Decimal("0.6"), Decimal("0.75"))]
    assert desk.read(HIT_RATE) == [(Decimal("0.75"),)]
    assert desk.read(REPORT_BY_USER) == [("ann", 2, Decimal("0.2")), ("bob", 1, Decimal("0.2"))]
    desk.write("delete from runs")
    assert desk.read('select "userId" from cost_tracking') == [("tester",)] * 3
