"""What is too large for the journal ends its step, and holds nobody else up."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, cast

import psycopg2.errors

from app.errors import FatalError
from app.runs.journal import OPERATION_CHARACTERS_MAX, JournalWriter
from app.runs.model import Effects
from app.runs.service import RunService
from tests.engine.desk import Desk
from tests.engine.documents import inline, linear, tool

PATIENCE_S = 20
MOST_STEPS = 10_000
MOST_ITEMS = 1000


def _write(desk: Desk, *operations: dict[str, Any]) -> list[Any]:
    """Write operations one after the other as one living process; an error stands in its answer's place."""
    hand = desk.hand()
    writer = JournalWriter(desk.dsn, process_id=hand.process_id, lease_s=10, publish=lambda _: None)

    async def write_all() -> list[Any]:
        answers: list[Any] = []
        async with asyncio.timeout(PATIENCE_S):
            for operation in operations:
                answers += await asyncio.gather(writer.write(operation), return_exceptions=True)
        return answers

    writer.start()
    try:
        return asyncio.run(write_all())
    finally:
        writer.close()


def test_what_is_over_a_limit_of_the_database_fails_alone_and_the_next_is_written(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    place = {"run": run_id, "key": "a", "fence": 1}
    over_the_limit_of_an_index = secrets.token_hex(10_000)
    answers = _write(
        desk,
        {"op": "claim", "run": run_id, "key": "a", "claim": "one"},
        {"op": "slots", **place, "slots": [[over_the_limit_of_an_index, 1]]},
        {"op": "finish", **place, "status": "completed", "output": 1},
    )
    assert isinstance(answers[1], psycopg2.errors.ProgramLimitExceeded)
    assert answers[2] == {"fenced": False}
    assert desk.statuses(run_id) == {"a": "completed"}


def test_an_operation_of_too_many_characters_is_refused_before_it_is_sent(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    place = {"run": run_id, "key": "a", "fence": 1}
    answers = _write(
        desk,
        {"op": "claim", "run": run_id, "key": "a", "claim": "one"},
        {"op": "finish", **place, "status": "completed", "output": "x" * OPERATION_CHARACTERS_MAX},
    )
    assert isinstance(answers[1], FatalError)
    assert answers[1].code == "output_too_large"
    assert desk.statuses(run_id) == {"a": "running"}


def test_items_whose_outputs_are_too_large_together_fail_their_for_each_and_not_the_last_item(desk: Desk) -> None:
    run_id = desk.submit(
        [linear(tool("mark", "all", for_each_=[0, 1, 2], output_variable_="all")), inline(tool("mark", "after"))]
    )
    hand = desk.hand()
    parent = hand.must_claim(run_id, "all")
    expansion = hand.decide(parent)
    assert expansion is not None
    hand.do(expansion)
    for item in range(3):
        hand.perform(run_id, f"all.{item}", "x" * (OPERATION_CHARACTERS_MAX // 3 + 1))
    steps = {step.key: step for step in desk.view(run_id).steps}
    assert [steps[f"all.{item}"].status for item in range(3)] == ["completed"] * 3
    assert steps["all"].status == "failed"
    assert steps["all"].error is not None
    assert steps["all"].error["code"] == "output_too_large"
    assert desk.statuses(run_id)["after"] == "ready"


def test_a_step_that_brings_a_run_over_what_its_outputs_may_come_to_fails_and_the_others_stay(desk: Desk) -> None:
    keys = ["a", "b", "c", "d", "e"]
    run_id = desk.submit([linear(*(tool("mark", key) for key in keys))])
    hand = desk.hand()
    for key in keys:
        hand.perform(run_id, key, "x" * 30_000_000)
    steps = {step.key: step for step in desk.view(run_id).steps}
    assert [steps[key].status for key in keys] == ["completed"] * 4 + ["failed"]
    error = steps["e"].error
    assert error is not None
    assert error["code"] == "run_too_large"


def test_a_for_each_that_brings_a_run_over_its_number_of_steps_fails_and_the_others_stay(desk: Desk) -> None:
    keys = [f"all{number}" for number in range(MOST_STEPS // MOST_ITEMS)]
    run_id = desk.submit([linear(*(tool("mark", key, for_each_=[0] * MOST_ITEMS) for key in keys))])
    hand = desk.hand()
    for key in keys:
        expansion = hand.decide(hand.must_claim(run_id, key))
        assert expansion is not None
        hand.do(expansion)
    steps = {step.key: step for step in desk.view(run_id).steps}
    assert [steps[key].status for key in keys] == ["waiting"] * (len(keys) - 1) + ["failed"]
    error = steps[keys[-1]].error
    assert error is not None
    assert error["code"] == "too_many_steps"
    assert len(steps) < MOST_STEPS


class _Silent:
    def publish(self, effects: Effects) -> None:
        """Send nothing: there are no workers."""


def test_a_cancelled_run_of_many_steps_ends_in_many_small_transactions(desk: Desk) -> None:
    run_id = desk.submit([linear(*(tool("mark") for _ in range(MOST_ITEMS + 1)))])
    unused: Any = None
    service = RunService(desk.store, cast("Any", _Silent()), unused, unused, MOST_STEPS)
    assert service.cancel_run(run_id, owner=None).status == "cancelled"
    assert set(desk.statuses(run_id).values()) == {"cancelled"}
    transactions = desk.read("select count(distinct xmin::text) from steps where run_id = :run", run=run_id)
    assert transactions[0][0] > 1
    desk.check(run_id)
