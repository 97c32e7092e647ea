"""Places for runs: who gets one, who waits, who gives it back."""

from __future__ import annotations

import pytest

from tests.engine.desk import Desk
from tests.engine.documents import approval, inline, linear, tool


def start(desk: Desk, priority: str = "medium") -> str:
    return desk.submit([inline(tool("mark", "a"))], priority=priority)


def test_a_run_starts_at_once_while_a_place_is_free_and_queues_when_none_is(desk: Desk) -> None:
    desk.set_places(2)
    runs = [start(desk) for _ in range(3)]
    assert [desk.status(run_id) for run_id in runs] == ["running", "running", "queued"]
    assert [send.run_id for send in desk.messages] == runs[:2]
    for run_id in runs:
        desk.check(run_id)


def test_nobody_overtakes_those_who_queue_even_when_a_place_is_free(desk: Desk) -> None:
    desk.set_places(0)
    first = start(desk)
    desk.set_places(1)
    second = start(desk)
    assert desk.status(second) == "queued"
    desk.hand().recover()
    assert [desk.status(first), desk.status(second)] == ["running", "queued"]


def test_an_end_hands_the_place_to_the_next_by_priority_then_by_age(desk: Desk) -> None:
    desk.set_places(1)
    running = start(desk)
    waiting = {name: start(desk, name.rstrip("12")) for name in ("low1", "medium1", "medium2", "high1", "high2")}
    hand = desk.hand()
    order = []
    for _ in waiting:
        hand.perform(running, "a")
        [running] = [run_id for run_id in waiting.values() if desk.status(run_id) == "running"]
        order.append(next(name for name, run_id in waiting.items() if run_id == running))
    assert order == ["high1", "high2", "medium1", "medium2", "low1"]
    assert [send.key for send in hand.messages] == ["a"] * 5


@pytest.mark.parametrize("how", ["waits for a person", "is paused", "has no money", "is cancelled", "fails"])
def test_a_run_gives_its_place_to_the_next_when_it(desk: Desk, how: str) -> None:
    desk.set_places(1)
    hand = desk.hand()
    first_block = inline(approval("a")) if how == "waits for a person" else inline(tool("mark", "a"))
    first = desk.submit([first_block], max_cost_usd="0")
    second = start(desk)
    assert desk.status(second) == "queued"
    match how:
        case "waits for a person":
            desk.wait_for_person(first, "a")
        case "is paused":
            desk.command(first, "pause")
        case "has no money":
            hand.reserve(hand.must_claim(first, "a"), "1")
        case "is cancelled":
            desk.cancel(first)
        case _:
            hand.fail(hand.must_claim(first, "a"))
    assert desk.status(second) == "running"
    desk.check(first)
    desk.check(second)


def test_a_run_that_goes_on_after_waiting_queues_when_no_place_is_free(desk: Desk) -> None:
    desk.set_places(1)
    first = desk.submit([inline(approval("ask"), tool("mark", "next"))])
    desk.wait_for_person(first, "ask")
    second = start(desk)
    assert desk.command(first, "approve", key="ask", approved=True, output=1) == "queued"
    hand = desk.hand()
    assert hand.claim(first, "next") is None
    hand.perform(second, "a")
    hand.perform(first, "next")
    assert desk.status(first) == "completed"
    desk.check(first)


def test_a_queued_run_that_only_waits_for_a_person_hands_the_place_on(desk: Desk) -> None:
    desk.set_places(1)
    first = desk.submit([linear(approval("ask1"), approval("ask2"))])
    for key in ("ask1", "ask2"):
        desk.wait_for_person(first, key)
    running = start(desk)
    desk.command(first, "pause")
    assert desk.command(first, "resume") == "queued"
    last = start(desk)
    desk.hand().perform(running, "a")
    assert [desk.status(first), desk.status(last)] == ["waiting", "running"]
    for run_id in (first, last):
        desk.check(run_id)


def test_places_that_were_left_taken_by_runs_that_are_gone_are_freed(desk: Desk) -> None:
    desk.set_places(1)
    desk.write("update admission set run_id = gen_random_uuid()")
    run_id = start(desk)
    hand = desk.hand()
    hand.recover()
    hand.recover()
    assert desk.status(run_id) == "running"


def test_places_can_become_more_and_fewer(desk: Desk) -> None:
    desk.set_places(2)
    runs = [start(desk) for _ in range(3)]
    desk.write("select batuta_resize_admission(1)")
    hand = desk.hand()
    desk.write("select batuta_resize_admission(3)")
    hand.recover()
    assert [desk.status(run_id) for run_id in runs] == ["running"] * 3
