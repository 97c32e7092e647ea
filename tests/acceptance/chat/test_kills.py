"""A worker that dies over a chat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import Simulator
from tests.acceptance.chat.conftest import CALLS, CATEGORISER, TOKENS, Chatting
from tests.engine.serving import serving
from tests.engine.trial import open_trial

SLOW_S = 3.0


@pytest.fixture
def fragile(database_url: str, redis_url: str, simulator: Simulator, tmp_path: Path) -> Iterator[Chatting]:
    """A system of the test's own, with two workers of which one may die."""
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": simulator.openai_url,
        "OPENAI_API_KEY": "sk-of-the-simulator",
        "API_TOKENS": f"ann:client:{TOKENS['ann']}",
        "ROUTE_HOLDOUT": "0",
    }
    with open_trial(environment, tmp_path) as trial, serving(trial) as url:
        trial.workers.start(2)
        yield Chatting(trial, url, simulator)


def test_a_worker_that_dies_while_a_model_answers_costs_no_line_and_buys_nothing_twice(fragile: Chatting) -> None:
    fragile.says("M")
    fragile.simulator.fault(CALLS, skip=1, delay_s=SLOW_S, times=1)
    started = fragile.ask("POST", "/chat", json={"message": "Still there?"}, headers={"Prefer": "respond-async"}).json()
    run_id = started["task_id"]
    fragile.trial.await_that(lambda: len(fragile.asked()) == 2, 20)
    fragile.trial.owner(run_id, "chat").kill()
    run = fragile.result(run_id)
    assert run["status"] == "completed"
    sorted_by = [request for request in fragile.asked() if CATEGORISER in str(request["messages"][0])]
    assert len(sorted_by) == 1
    assert len(fragile.asked()) == 3  # the one that was in flight is unknown, counted, and asked again
    assert len(fragile.lines(run["result"]["session_id"])) == 2
    statuses = fragile.trial.ask("select status from calls where run_id = :run order by ordinal", run=run_id)
    assert [status for (status,) in statuses] == ["answered", "unknown", "answered"]
    [[spent, called]] = fragile.trial.ask(
        "select spent_usd, (select sum(cost_usd) from calls where run_id = :run) from runs where run_id = :run",
        run=run_id,
    )
    assert spent == called > 0
