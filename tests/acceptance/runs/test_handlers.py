"""What agents and tools may do to their worker: fail, block, hang, raise what they should not, give what is odd."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from app.runs.model import RunStatus, RunView
from tests.engine.documents import inline, linear, tool
from tests.engine.tools import STAGES
from tests.engine.trial import Trial


def only(view: RunView) -> Any:
    [step] = view.steps
    return step


def test_a_flaky_tool_is_tried_again_after_a_pause_and_succeeds(crew: Trial) -> None:
    view = crew.run([inline(tool("flaky", "f", works_at=3))])
    assert view.status is RunStatus.COMPLETED
    assert only(view).attempts == 3
    assert [what for _, what, _ in crew.effects(view.run_id)] == ["try"] * 3
    parked = [event for event in crew.application.store.read_events(view.run_id, 0, 99) if event.type == "step_parked"]
    assert [(event.data or {})["reason"] for event in parked] == ["back-off", "back-off"]


@pytest.mark.parametrize(("error", "tries"), [("logical", 3), ("resource", 2), ("persistent", 1), ("fatal", 1)])
def test_each_class_of_error_has_its_own_number_of_tries(crew: Trial, error: str, tries: int) -> None:
    view = crew.run([inline(tool("boom", "b", error=error))])
    assert view.status is RunStatus.FAILED
    assert only(view).error["code"] == "boom"
    assert only(view).error["class"] == error
    assert len(crew.effects(view.run_id)) == tries


def test_a_task_may_say_how_often_it_is_tried_again(crew: Trial) -> None:
    view = crew.run([inline(tool("boom", "b", error="transient", retries_=0))])
    assert only(view).attempts == 1


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "StopIteration", "CancelledError"])
def test_whatever_a_tool_raises_fails_its_own_step_at_once_and_nothing_else(crew: Trial, error: str) -> None:
    view = crew.run([linear(tool("boom", "b", error=error), tool("nap", "n", seconds=0.3))])
    steps = {step.key: step for step in view.steps}
    assert steps["b"].error is not None
    assert steps["b"].error["code"] == "internal"
    assert steps["b"].attempts == 1
    assert steps["n"].status == "completed"
    assert steps["n"].attempts == 1


def test_a_coroutine_that_leaves_the_process_fails_its_step_and_the_worker_goes_on(crew: Trial) -> None:
    view = crew.run([inline(tool("leave", "l"), tool("mark", "m"))])
    assert [step.status for step in view.steps] == ["failed", "completed"]
    assert len(crew.workers.living) == 2


@pytest.mark.parametrize("which", ["nap", "work"])
def test_a_time_limit_holds_for_tools_that_wait_and_for_tools_that_block(crew: Trial, which: str) -> None:
    started = time.monotonic()
    view = crew.run([inline(tool(which, "t", seconds=30, timeout_s_=0.3, retries_=0))])
    assert only(view).error["code"] == "timeout"
    assert time.monotonic() - started < 20


def test_a_blocking_tool_learns_from_its_context_that_its_time_is_up(crew: Trial) -> None:
    view = crew.run([inline(tool("work", "t", seconds=2, timeout_s_=0.3, retries_=0))])
    time.sleep(2.2)
    assert [what for _, what, _ in crew.effects(view.run_id)] == ["begin"]


def test_a_steps_time_does_not_run_while_it_waits_for_a_thread(trial: Trial) -> None:
    trial.workers.add(WORKER_THREADS="1")
    trial.workers.start()
    view = trial.run([linear(*(tool("work", f"w{n}", seconds=0.5, timeout_s_=1.2) for n in range(4)))])
    assert {step.status for step in view.steps} == {"completed"}
    assert {step.attempts for step in view.steps} == {1}


@pytest.mark.parametrize(
    ("which", "stored"),
    [
        ("nul", {"a�b": "c�"}),
        ("surrogate", "half a pair: �"),
        ("long integer", 2**80 + 1),
        ("not a number", [None, None, 1.5]),
        ("tuple", [1, 2]),
        ("number keys", {"1": "one"}),
    ],
)
def test_odd_outputs_are_stored_and_reach_the_next_step_whole(crew: Trial, which: str, stored: Any) -> None:
    view = crew.run([inline(tool("odd", "o", which=which, output_variable_="v"), tool("echo", "e", got="{v}"))])
    assert view.status is RunStatus.COMPLETED
    assert view.steps[0].output == stored
    assert view.steps[1].output == {"got": stored}
    assert type(view.steps[1].output["got"]) is type(stored)


@pytest.mark.parametrize("which", ["set", "decimal", "object"])
def test_an_output_that_is_no_json_fails_its_step_and_says_so(crew: Trial, which: str) -> None:
    view = crew.run([inline(tool("odd", "o", which=which), tool("mark", "m"))])
    assert [step.status for step in view.steps] == ["failed", "completed"]
    assert view.steps[0].error is not None
    assert view.steps[0].error["code"] == "unstorable"


def test_an_output_of_many_levels_is_stored_or_refused_but_hangs_nothing(crew: Trial) -> None:
    for levels, status in ((200, "completed"), (5_000, "failed")):
        view = crew.run([inline(tool("odd", "o", which="deep", levels=levels))])
        assert only(view).status == status


def test_an_output_of_many_megabytes_is_stored_and_one_of_too_many_fails_its_step_alone(crew: Trial) -> None:
    view = crew.run(
        [
            linear(
                tool("odd", "o", which="large", bytes=8_000_000),
                tool("odd", "p", which="large", bytes=40_000_000),
                tool("mark", "m"),
            )
        ]
    )
    assert [step.status for step in view.steps] == ["completed", "failed", "completed"]
    assert len(view.steps[0].output) == 8_000_000
    assert view.steps[1].error is not None
    assert view.steps[1].error["code"] == "output_too_large"


def test_an_agent_sees_what_the_steps_before_it_did(crew: Trial) -> None:
    view = crew.run(
        [
            inline(
                tool("mark", "a", value=1),
                tool("boom", "b"),
                {"id": "w", "agent": "witness", "output_variable": "seen"},
            )
        ]
    )
    assert view.variables["seen"][:2] == [
        {"key": "a", "status": "completed", "output": 1, "code": None},
        {"key": "b", "status": "failed", "output": None, "code": "boom"},
    ]


def test_a_step_that_parks_comes_again_and_no_try_is_counted(crew: Trial) -> None:
    view = crew.run([inline(tool("parks", "p", works_at=3))])
    assert only(view).output == 3
    assert crew.ask("select tries from steps where run_id = :run", run=view.run_id) == [({},)]


def test_slots_hold_over_all_workers(crew: Trial) -> None:
    view = crew.run([linear(*(tool("on_stage", f"s{n}", seconds=0.1) for n in range(10)))])
    assert view.status is RunStatus.COMPLETED
    inside = most = 0
    for _, what, _ in crew.effects(view.run_id):
        inside += 1 if what == "enter" else -1
        most = max(most, inside)
    assert most <= STAGES
    assert len(crew.effects(view.run_id)) == 20


def test_the_message_of_a_step_holds_ids_only(trial: Trial) -> None:
    secret = "a value that belongs to the journal"
    trial.make_places()
    trial.start([inline(tool("echo", "a", secret=secret), tool("echo", "b", secret=secret))])
    [raw] = trial.application.redis.lrange("inline.medium", 0, -1)
    assert isinstance(raw, bytes)
    assert secret not in raw.decode()
    assert secret not in base64.b64decode(json.loads(raw)["body"]).decode()
    assert len(raw) < 3000
