"""A step that ends adds blocks to its run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.runs.ports import Grown
from app.runs.submission import growth_rows
from tests.engine.desk import Desk, Hand
from tests.engine.documents import inline, linear, parse, tool


@pytest.fixture
def hand(desk: Desk) -> Hand:
    return desk.hand()


def growth(blocks: list[dict[str, Any]], variables: dict[str, Any] | None = None, *, first: int = 0) -> dict[str, Any]:
    workflow = parse(blocks, variables)
    shifted = tuple(replace(block, index=block.index + first) for block in workflow.blocks)
    return growth_rows(Grown(None, shifted, workflow.variables))


def grow(desk: Desk, hand: Hand, run_id: str, key: str, added: dict[str, Any]) -> None:
    hand.finish(hand.must_claim(run_id, key), "grew", grow=added)
    desk.check(run_id)


def test_what_a_step_adds_runs_after_it_and_sees_what_came_before(desk: Desk, hand: Hand) -> None:
    run_id = desk.submit([inline(tool("mark", "first"))], {"given": "kept"}, priority="high")
    added = [linear(tool("echo", "a", got="{given}"), tool("mark", "b")), inline(tool("echo", "c", got="{mine}"))]
    grow(desk, hand, run_id, "first", growth(added, {"given": "stolen", "mine": "new"}))
    assert desk.status(run_id) == "running"
    assert {message.queue for message in hand.messages} == {"linear.high"}
    step = hand.must_claim(run_id, "a")
    assert step.values == {"given": "kept"}
    hand.finish(step)
    hand.perform(run_id, "b")
    assert hand.must_claim(run_id, "c").values == {"mine": "new"}
    desk.check(run_id)


def test_a_run_that_grew_ends_when_all_of_it_has(desk: Desk, hand: Hand) -> None:
    run_id = desk.submit([inline(tool("mark", "first"))])
    grow(desk, hand, run_id, "first", growth([inline(tool("mark", "second"))]))
    desk.play(hand)
    assert desk.status(run_id) == "completed"
    assert desk.statuses(run_id) == {"first": "completed", "second": "completed"}
    desk.check(run_id)


def test_blocks_fill_a_gap_that_was_left_for_them(desk: Desk, hand: Hand) -> None:
    run_id = desk.submit([inline(tool("mark", "ask"))])
    frame = growth([inline(tool("mark", "plan"))])
    last = growth([inline(tool("mark", "report"))], first=1000)
    grow(
        desk, hand, run_id, "ask", {name: frame[name] + last[name] for name in ("blocks", "steps")} | {"variables": {}}
    )
    grow(desk, hand, run_id, "plan", growth([inline(tool("mark", "x")), linear(tool("mark", "y"))]))
    desk.play(hand)
    assert [step.key for step in desk.view(run_id).steps] == ["ask", "plan", "x", "y", "report"]
    ends = [key for kind, key in desk.events(run_id) if kind == "step_completed"]
    assert ends == ["ask", "plan", "x", "y", "report"]
    desk.check(run_id)


@pytest.mark.parametrize(
    "added",
    [
        growth([inline(tool("mark", "first"))]),
        growth([inline(tool("mark", "other"))]),
        growth([linear(*(tool("mark") for _ in range(1999)))], first=5),
    ],
    ids=["a key it has", "a block it has", "too many tasks"],
)
def test_a_run_that_must_not_grow_so_fails_the_step_and_goes_on(desk: Desk, hand: Hand, added: dict[str, Any]) -> None:
    run_id = desk.submit([inline(tool("mark", "first")), inline(tool("mark", "last"))])
    grow(desk, hand, run_id, "first", added)
    assert desk.step_row(run_id, "first").error["code"] == "growth_refused"
    desk.play(hand)
    assert desk.statuses(run_id) == {"first": "failed", "last": "completed"}
    desk.check(run_id)


def test_an_owner_that_lost_its_step_adds_nothing(desk: Desk, hand: Hand) -> None:
    run_id = desk.submit([inline(tool("mark", "first"))])
    step = hand.must_claim(run_id, "first")
    hand.die()
    other = desk.hand()
    other.recover()
    other.finish(other.must_claim(run_id, "first"), "mine")
    assert hand.finish(step, "late", grow=growth([inline(tool("mark", "second"))])) == {"fenced": True}
    assert desk.statuses(run_id) == {"first": "completed"}


def test_a_retry_begins_again_in_the_blocks_that_were_added(desk: Desk, hand: Hand) -> None:
    run_id = desk.submit([inline(tool("mark", "first"))])
    grow(desk, hand, run_id, "first", growth([inline(tool("mark", "second"), tool("mark", "third"))]))
    desk.play(hand, {"second": ValueError("no")})
    assert desk.status(run_id) == "partial"
    desk.command(run_id, "retry")
    desk.play(hand)
    assert desk.statuses(run_id) == {"first": "completed", "second": "completed", "third": "completed"}
    assert desk.status(run_id) == "completed"
    desk.check(run_id)
