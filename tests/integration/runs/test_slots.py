"""Shared places that steps hold until they end."""

from __future__ import annotations

from typing import Any

from app.runs.claimed import Claimed
from tests.engine.desk import Desk, Hand
from tests.engine.documents import linear, tool


def want(hand: Hand, step: Claimed, *slots: tuple[str, int]) -> bool:
    """Ask for slots; False when the step was parked for want of them."""
    return not hand.do(step.operation("slots", slots=[list(slot) for slot in slots]))[0]["parked"]


def three(desk: Desk) -> tuple[str, Hand, list[Claimed]]:
    run_id = desk.submit([linear(*(tool("on_stage", f"s{n}") for n in range(3)))])
    hand = desk.hand()
    return run_id, hand, [hand.must_claim(run_id, f"s{n}") for n in range(3)]


def holders(desk: Desk, name: str = "stage") -> list[Any]:
    return [row[0] for row in desk.read("select step_key from slots where name = :n and run_id is not null", n=name)]


def wake(desk: Desk, hand: Hand) -> list[str]:
    """Write the wakes that a worker would write after its commit."""
    woken = []
    while hand.wakes:
        run_id, key = hand.wakes.pop(0)
        hand.do({"op": "wake", "run": run_id, "key": key})
        woken.append(key)
    return woken


def test_no_more_hold_a_slot_than_it_has_places_and_an_end_wakes_the_one_that_waited_longest(desk: Desk) -> None:
    run_id, hand, (a, b, c) = three(desk)
    assert want(hand, a, ("stage", 1))
    assert not want(hand, b, ("stage", 1))
    assert not want(hand, c, ("stage", 1))
    assert desk.step_row(run_id, "s1").status == "parked"
    hand.finish(a)
    assert wake(desk, hand) == ["s1"]
    b = hand.must_claim(run_id, "s1")
    assert want(hand, b, ("stage", 1))
    assert holders(desk) == ["s1"]
    desk.check(run_id)


def test_several_slots_are_taken_all_or_none(desk: Desk) -> None:
    run_id, hand, (a, b, _) = three(desk)
    assert want(hand, a, ("vendor", 1))
    assert not want(hand, b, ("camera", 1), ("vendor", 1))
    assert holders(desk, "camera") == []
    hand.finish(a)
    assert wake(desk, hand) == ["s1"]
    b = hand.must_claim(run_id, "s1")
    assert want(hand, b, ("vendor", 1), ("camera", 1))
    assert (holders(desk, "camera"), holders(desk, "vendor")) == (["s1"], ["s1"])


def test_a_slot_survives_its_owners_death_and_is_the_heirs(desk: Desk) -> None:
    run_id, hand, (a, _b, _) = three(desk)
    assert want(hand, a, ("stage", 1))
    heir = desk.hand()
    hand.die()
    again = heir.must_claim(run_id, "s0")
    assert not want(heir, heir.must_claim(run_id, "s1"), ("stage", 1))
    assert want(heir, again, ("stage", 1))
    assert holders(desk) == ["s0"]
    desk.check(run_id)


def test_a_step_that_waits_for_money_or_a_rate_frees_its_slot(desk: Desk) -> None:
    for reason in ("budget", "rate", "breaker"):
        run_id, hand, (a, b, _) = three(desk)
        assert want(hand, a, (reason, 1))
        assert not want(hand, b, (reason, 1))
        hand.do(a.operation("park", reason=reason, delay_s=60))
        assert wake(desk, hand) == ["s1"]
        desk.check(run_id)


def test_a_slot_stays_taken_while_a_vendors_job_is_alive(desk: Desk) -> None:
    _run_id, hand, (a, b, _) = three(desk)
    assert want(hand, a, ("stage", 1))
    assert not want(hand, b, ("stage", 1))
    ordinal = hand.reserve(a, "0.5")["ordinal"]
    hand.do(a.operation("answer_call", ordinal=ordinal, vendor_job_id="job-1"))
    hand.do(a.operation("park", reason="rate", delay_s=0))
    assert holders(desk) == ["s0"]
    assert hand.wakes == []


def test_a_cancelled_run_gives_its_slots_to_others(desk: Desk) -> None:
    run_id, hand, (a, _, _) = three(desk)
    assert want(hand, a, ("stage", 1))
    hand.do(a.operation("park", reason="back-off", delay_s=60))
    _, _, (other, _, _) = three(desk)
    second = desk.hands[-1]
    assert not want(second, other, ("stage", 1))
    desk.cancel(run_id)
    assert holders(desk) == []
    hand.recover()
    assert desk.step_row(other.run_id, "s0").status == "ready"


def test_a_wake_that_was_never_written_is_made_up_by_recovery(desk: Desk) -> None:
    run_id, hand, (a, b, _) = three(desk)
    assert want(hand, a, ("stage", 1))
    assert not want(hand, b, ("stage", 1))
    hand.finish(a)
    hand.wakes.clear()
    hand.recover()
    assert desk.step_row(run_id, "s1").status == "ready"


def test_who_was_woken_by_recovery_waits_no_longer_in_the_line(desk: Desk) -> None:
    run_id, hand, (a, b, c) = three(desk)
    assert want(hand, a, ("stage", 1))
    assert not want(hand, b, ("stage", 1))
    assert not want(hand, c, ("stage", 1))
    hand.do({"op": "wake", "run": run_id, "key": "s1"})
    hand.finish(a)
    assert wake(desk, hand) == ["s2"]


def test_fewer_places_than_before_let_nobody_in_beyond_them(desk: Desk) -> None:
    _run_id, hand, (a, b, c) = three(desk)
    assert want(hand, a, ("stage", 2))
    hand.finish(a)
    assert want(hand, b, ("stage", 1))
    assert not want(hand, c, ("stage", 1))
