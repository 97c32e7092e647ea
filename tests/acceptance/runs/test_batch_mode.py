"""Blocks in batch mode: questions of many runs go to the vendor together, at half the price, and survive anything."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.runs.model import RunStatus
from simulator import Simulator
from tests.engine.documents import inline, tool
from tests.engine.promises import hold_promises
from tests.engine.trial import Trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]

LIVE = "/openai/v1/chat"
BATCHES = "/openai/v1/batches"
FILES = "/openai/v1/files"


@pytest.fixture
def pooling(trial: Trial, simulator: Simulator) -> Trial:
    """A system whose vendor takes batches; workers are started by the tests."""
    trial.workers.add(
        OPENAI_BASE_URL=simulator.openai_url,
        OPENAI_API_KEY="sk-of-the-simulator",
        VENDOR_BATCH_GATHER_S="1",
        VENDOR_BATCH_POLL_S="0.3",
        VENDOR_BATCH_LIVE_AFTER_S="3600",
    )
    return trial


def ask(key: str, prompt: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "model": "fast_ai", "prompt": prompt, "output_variable": key, **more}


def patient(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "linear", "latency": "batch", "tasks": list(tasks)}


def created(simulator: Simulator) -> int:
    return simulator.count(BATCHES, "POST")


def await_parked(trial: Trial, run_id: str, count: int) -> None:
    """Wait until so many steps of a run wait for their batch."""
    trial.await_that(lambda: [step.reason for step in trial.view(run_id).steps].count("batch") == count)


def test_questions_of_several_runs_go_out_in_one_batch_and_cost_half(pooling: Trial, simulator: Simulator) -> None:
    pooling.workers.start()
    runs = [
        pooling.start(
            [patient(ask("a", f"question {number}"), ask("b", "another")), inline(tool("echo", "e", got="{a}"))]
        )
        for number in range(3)
    ]
    views = [pooling.finish(run_id) for run_id in runs]
    assert [view.status for view in views] == [RunStatus.COMPLETED] * 3
    assert created(simulator) == 1
    assert simulator.count(LIVE) == 0
    for view in views:
        hold_promises(pooling, view.run_id)
        assert view.steps[2].output == {"got": view.steps[0].output}
    live = pooling.run([inline(ask("a", "question 0"))])
    assert abs(live.cost_usd - 2 * views[0].steps[0].cost_usd) <= Decimal("0.000001")  # each is rounded


def test_a_worker_that_dies_while_a_batch_is_at_the_vendor_costs_nothing_twice(
    pooling: Trial, simulator: Simulator
) -> None:
    simulator.configure(openai={"batch_delay_s": 3})
    (worker,) = pooling.workers.start()
    run_id = pooling.start([patient(*(ask(f"q{number}", f"question {number}") for number in range(5)))])
    await_parked(pooling, run_id, 5)
    pooling.await_that(lambda: created(simulator) == 1)
    worker.kill()
    pooling.workers.start()
    view = pooling.finish(run_id)
    assert view.status is RunStatus.COMPLETED
    assert created(simulator) == 1
    assert simulator.count(LIVE) == 0
    hold_promises(pooling, run_id)


def test_what_a_batch_does_not_bring_in_time_is_asked_live(pooling: Trial, simulator: Simulator) -> None:
    simulator.configure(openai={"batch_delay_s": 600})
    pooling.workers.add(VENDOR_BATCH_LIVE_AFTER_S="4", VENDOR_BATCH_MARGIN_S="2")
    pooling.workers.start()
    view = pooling.run([patient(ask("a", "a question"), ask("b", "another"))])
    assert view.status is RunStatus.COMPLETED
    assert created(simulator) >= 1
    assert simulator.count(LIVE) == 2
    assert all(step.output for step in view.steps)
    hold_promises(pooling, view.run_id)
    calls = pooling.ask("select status, cost_usd from calls")
    # what the vendor cancelled cost nothing
    assert sorted(status for status, _ in calls) == ["answered", "answered", "failed", "failed"]
    assert view.cost_usd == sum(cost for status, cost in calls if status == "answered")


def test_what_failed_live_after_its_batch_is_tried_again_live(pooling: Trial, simulator: Simulator) -> None:
    simulator.fault(BATCHES, method="POST", status=400, body={"error": {"message": "no batches today"}}, times=None)
    simulator.fault(LIVE, status=500, times=1)
    pooling.workers.start()
    view = pooling.run([patient(ask("a", "a question"))])
    assert view.status is RunStatus.COMPLETED
    assert (created(simulator), simulator.count(LIVE)) == (1, 2)


def test_answers_that_the_vendor_keeps_no_longer_are_asked_for_live(pooling: Trial, simulator: Simulator) -> None:
    simulator.fault(FILES, method="GET", status=404, body={"error": {"message": "No such File object"}}, times=None)
    pooling.workers.start()
    view = pooling.run([patient(ask("a", "a question"))])
    assert view.status is RunStatus.COMPLETED
    assert simulator.count(LIVE) == 1
    assert sorted(pooling.ask("select status from calls")) == [("answered",), ("unknown",)]


def test_a_vendor_that_refuses_the_batch_is_asked_live(pooling: Trial, simulator: Simulator) -> None:
    simulator.fault(BATCHES, method="POST", status=400, body={"error": {"message": "no batches today"}}, times=None)
    pooling.workers.start()
    view = pooling.run([patient(ask("a", "a question"))])
    assert view.status is RunStatus.COMPLETED
    assert simulator.count(LIVE) == 1


def test_a_cancelled_runs_question_is_taken_out_of_the_pool_and_its_money_given_back(
    pooling: Trial, simulator: Simulator
) -> None:
    pooling.workers.add(VENDOR_BATCH_GATHER_S="3")
    pooling.workers.start()
    run_id = pooling.start([patient(ask("a", "a question"))])
    await_parked(pooling, run_id, 1)
    pooling.runs.cancel_run(run_id, owner=None)
    pooling.await_that(lambda: pooling.ask("select reserved_usd from runs") == [(0,)])
    assert created(simulator) == 0


def test_a_block_in_batch_mode_is_asked_live_where_no_vendor_takes_batches(trial: Trial, simulator: Simulator) -> None:
    trial.workers.add(OPENROUTER_BASE_URL=simulator.openrouter_url, OPENROUTER_API_KEY="sk-or-of-the-simulator")
    trial.workers.start()
    view = trial.run([patient(ask("a", "a question"))])
    assert view.status is RunStatus.COMPLETED
    assert simulator.count("/openrouter/api/v1/chat") == 1
