"""What people ask of a run: cancel, pause, resume, approve; retries have a page of their own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.desk import Desk
from tests.engine.documents import approval, graph, inline, linear, tool

BOOM = RuntimeError("boom")


# --- cancel ---------------------------------------------------------------------------------------------------------


def test_a_cancel_ends_what_waits_at_once_and_the_run_when_nothing_runs_any_more(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b")), inline(tool("mark", "c"))])
    hand = desk.hand()
    running = hand.must_claim(run_id, "a")
    desk.cancel(run_id)
    assert desk.statuses(run_id) == {"a": "running", "b": "cancelled", "c": "cancelled"}
    assert desk.status(run_id) == "running"
    desk.check(run_id)
    hand.finish(running, status="cancelled", reason="run cancelled")
    assert desk.status(run_id) == "cancelled"
    desk.check(run_id)


def test_a_step_that_finishes_in_spite_of_a_cancel_keeps_its_output_and_opens_nothing(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"), tool("mark", "b"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    desk.cancel(run_id)
    hand.finish(step, "done")
    assert desk.status(run_id) == "cancelled"
    assert desk.view(run_id).steps[0].output == "done"
    assert hand.messages == []
    desk.check(run_id)


def test_a_finish_between_the_two_halves_of_a_cancel_loses_nothing(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a")), linear(tool("mark", "b"), tool("mark", "c"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    desk.command(run_id, "cancel")
    hand.finish(step)
    assert hand.messages == []
    desk.command(run_id, "cancel_rest")
    assert desk.status(run_id) == "cancelled"
    desk.check(run_id)


@pytest.mark.parametrize("running", [0, 1, 2])
def test_a_cancel_in_the_middle_of_a_for_each_ends_it_with_its_last_running_item(desk: Desk, running: int) -> None:
    run_id = desk.submit([linear(tool("mark", "each", for_each_=[1, 2, 3, 4])), inline(tool("mark", "after"))])
    hand = desk.hand()
    hand.do(hand.decide(hand.must_claim(run_id, "each")) or {})
    hand.perform(run_id, "each.3")
    steps = [hand.must_claim(run_id, f"each.{n}") for n in range(running)]
    desk.cancel(run_id)
    for step in steps:
        assert desk.status(run_id) == "running"
        hand.finish(step, status="cancelled", reason="run cancelled")
    assert desk.status(run_id) == "cancelled"
    assert desk.statuses(run_id)["after"] == "cancelled"
    desk.check(run_id)


def test_nothing_of_a_cancelled_run_is_claimed(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    desk.command(run_id, "cancel")
    assert desk.hand().claim(run_id, "a") is None


def test_parked_waiting_and_queued_work_can_be_cancelled(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), approval("b"))])
    hand = desk.hand()
    hand.do(hand.must_claim(run_id, "a").operation("park", reason="rate", delay_s=3600))
    desk.wait_for_person(run_id, "b")
    desk.cancel(run_id)
    assert desk.status(run_id) == "cancelled"
    desk.check(run_id)
    desk.set_places(0)
    queued = desk.submit([inline(tool("mark", "a"))])
    assert desk.status(queued) == "queued"
    desk.cancel(queued)
    assert desk.status(queued) == "cancelled"
    desk.check(queued)


@pytest.mark.parametrize("command", ["cancel", "pause", "resume", "retry"])
def test_what_a_completed_run_does_not_allow_is_refused_and_changes_nothing(desk: Desk, command: str) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    desk.play(desk.hand())
    told = desk.events(run_id)
    assert desk.command(run_id, command) is None
    assert desk.events(run_id) == told
    assert desk.status(run_id) == "completed"


# --- pause ----------------------------------------------------------------------------------------------------------


def test_a_paused_run_sends_nothing_finishes_what_runs_and_goes_on_where_it_stood(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b")), inline(tool("mark", "c"))])
    hand = desk.hand()
    running = hand.must_claim(run_id, "a")
    desk.take_messages()
    assert desk.command(run_id, "pause") == "paused"
    assert hand.claim(run_id, "b") is None
    hand.finish(running)
    assert desk.take_messages(hand) == []
    desk.check(run_id)
    assert desk.command(run_id, "resume") == "running"
    assert [send.key for send in desk.take_messages()] == ["b"]
    hand.perform(run_id, "b")
    hand.perform(run_id, "c")
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_pause_while_a_blocks_last_step_runs_opens_the_next_block_at_the_resume(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a")), linear(tool("mark", "b"), tool("mark", "c"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    desk.command(run_id, "pause")
    desk.take_messages()
    hand.finish(step)
    assert desk.take_messages(hand) == []
    desk.command(run_id, "resume")
    assert {send.key for send in desk.take_messages()} == {"b", "c"}
    desk.check(run_id)


def test_a_run_that_is_paused_while_its_last_step_runs_ends(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    desk.command(run_id, "pause")
    hand.finish(step)
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_paused_run_can_be_cancelled(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    desk.command(run_id, "pause")
    desk.cancel(run_id)
    assert desk.status(run_id) == "cancelled"
    desk.check(run_id)


# --- approvals ------------------------------------------------------------------------------------------------------


def test_a_run_that_only_waits_for_a_person_holds_no_place_and_an_answer_lets_it_go_on(desk: Desk) -> None:
    run_id = desk.submit([inline(approval("ask", output_variable="said"), tool("mark", "next", value="{said}"))])
    desk.wait_for_person(run_id, "ask")
    assert desk.status(run_id) == "waiting"
    desk.check(run_id)
    assert desk.command(run_id, "approve", key="ask", approved=True, output={"yes": 1}) == "running"
    step = desk.hand().must_claim(run_id, "next")
    assert step.values == {"said": {"yes": 1}}
    desk.check(run_id)


def test_a_person_is_asked_once_the_second_answer_is_refused(desk: Desk) -> None:
    run_id = desk.submit([inline(approval("ask"), tool("mark", "next"))])
    assert desk.command(run_id, "approve", key="ask", approved=True, output=1) is None
    desk.wait_for_person(run_id, "ask")
    assert desk.command(run_id, "approve", key="ask", approved=True, output=1) == "running"
    assert desk.command(run_id, "approve", key="ask", approved=False, output=2) is None
    assert desk.view(run_id).steps[0].output == 1


@pytest.mark.parametrize("block", [inline, linear])
def test_a_no_is_a_gate_for_all_that_follows(desk: Desk, block: Any) -> None:
    run_id = desk.submit([block(approval("ask")), inline(tool("mark", "b")), linear(tool("mark", "c"))])
    desk.wait_for_person(run_id, "ask")
    desk.command(run_id, "approve", key="ask", approved=False, output=None, note="not today")
    hand = desk.hand()
    desk.play(hand)
    assert desk.statuses(run_id) == {"ask": "failed", "b": "skipped", "c": "skipped"}
    [ask, *_] = desk.view(run_id).steps
    assert ask.error == {"code": "rejected", "message": "not today"}
    assert desk.status(run_id) == "failed"
    desk.check(run_id)


def test_a_no_in_a_graph_stops_what_depends_on_it_and_nothing_beside_it(desk: Desk) -> None:
    run_id = desk.submit(
        [graph(approval("ask"), tool("mark", "b", depends_on_=["ask"]), tool("mark", "beside"), approval("other"))]
    )
    for key in ("ask", "other"):
        desk.wait_for_person(run_id, key)
    hand = desk.hand()
    hand.perform(run_id, "beside")
    assert desk.status(run_id) == "waiting"
    desk.command(run_id, "approve", key="ask", approved=False, output=None)
    desk.play(hand)
    assert desk.statuses(run_id) == {"ask": "failed", "b": "skipped", "beside": "completed", "other": "waiting"}
    desk.check(run_id)
    assert desk.status(run_id) == "waiting"
    desk.command(run_id, "approve", key="other", approved=True, output=1)
    assert desk.status(run_id) == "partial"
    desk.check(run_id)


def test_an_answer_while_the_run_is_paused_is_kept_for_the_resume(desk: Desk) -> None:
    run_id = desk.submit([inline(approval("ask"), tool("mark", "next"))])
    desk.wait_for_person(run_id, "ask")
    desk.command(run_id, "pause")
    assert desk.command(run_id, "approve", key="ask", approved=True, output=1) == "paused"
    assert desk.hand().claim(run_id, "next") is None
    desk.command(run_id, "resume")
    desk.hand().must_claim(run_id, "next")
    desk.check(run_id)


def test_a_paused_run_that_waits_for_a_person_takes_no_place_by_its_resume(desk: Desk) -> None:
    run_id = desk.submit([inline(approval("ask"), tool("mark", "next"))])
    desk.wait_for_person(run_id, "ask")
    desk.command(run_id, "pause")
    assert desk.command(run_id, "resume") == "waiting"
    desk.check(run_id)
    assert desk.command(run_id, "approve", key="ask", approved=True, output=1) == "running"
    desk.check(run_id)


def test_a_for_each_of_approvals_waits_for_every_one(desk: Desk) -> None:
    run_id = desk.submit([linear(approval("ask", for_each=["a", "b"], output_variable="said"))])
    hand = desk.hand()
    for key in ("ask", "ask.0", "ask.1"):
        hand.do(hand.decide(hand.must_claim(run_id, key)) or {})
    assert desk.status(run_id) == "waiting"
    desk.command(run_id, "approve", key="ask.0", approved=True, output="yes")
    assert desk.status(run_id) == "waiting"
    desk.check(run_id)
    desk.command(run_id, "approve", key="ask.1", approved=True, output="also")
    assert desk.view(run_id).variables["said"] == ["yes", "also"]
    assert desk.status(run_id) == "completed"
