"""Caps over HTTP, through real workers, counted at the vendor."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.http import create_app
from simulator import Simulator
from tests.engine.promises import hold_promises
from tests.engine.trial import Trial, open_trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]
CHAT = "/openai/v1/chat"
COST_USD = Decimal("0.003")  # of one answer: 500 tokens in at $2 and 200 out at $10 a million
STEPS = 50


class Till:
    """A system with two workers whose every answer costs the same, and its door."""

    def __init__(self, trial: Trial, simulator: Simulator) -> None:
        self.trial = trial
        self.simulator = simulator
        self.web: FlaskClient = create_app(trial.application).test_client()

    def order(self, steps: int = STEPS, **options: Any) -> str:
        """Start a run of questions side by side."""
        tasks = [
            {
                "model": "thinking_ai",
                "prompt": f"Question {n}?",
                "config": {"max_tokens": 300},
                "output_variable": f"a{n}",
            }
            for n in range(steps)
        ]
        body = {"workflow": [{"type": "linear", "tasks": tasks}], **options}
        answer = self.web.post("/workflow", json=body, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.get_json()
        return str(answer.get_json()["task_id"])

    def show(self, run_id: str) -> dict[str, Any]:
        """Read a run."""
        return dict(self.web.get(f"/runs/{run_id}").get_json())

    def committed(self) -> list[tuple[Any, ...]]:
        """What is spent and reserved, by the run and by the ledger."""
        return self.trial.ask(
            "select r.spent_usd + r.reserved_usd, (select coalesce(sum(coalesce(c.cost_usd, c.estimate_usd)), 0) "
            "from calls c where c.run_id = r.run_id and c.status <> 'failed') from runs r"
        )

    def asked(self) -> Counter[str]:
        """How often the vendor saw each question."""
        return Counter(entry["body"]["messages"][-1]["content"] for entry in self.simulator.log(CHAT))


@pytest.fixture
def open_till(database_url: str, redis_url: str, tmp_path: Path, simulator: Simulator) -> Any:
    """Open a system with caps of the test's own."""

    @contextmanager
    def opened(**caps: str) -> Iterator[Till]:
        simulator.answer(content="An answer.", usage={"prompt_tokens": 500, "completion_tokens": 200})
        simulator.configure(answers={"latency_s": 0.05})
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "OPENAI_BASE_URL": simulator.openai_url,
            "OPENAI_API_KEY": "sk-of-the-simulator",
            **caps,
        }
        with open_trial(environment, tmp_path) as trial:
            trial.workers.start(2)
            yield Till(trial, simulator)

    return opened


@contextmanager
def watched(till: Till) -> Iterator[list[Decimal]]:
    """Look at all runs' money again and again meanwhile; gives the most that was committed."""
    most: list[Decimal] = [Decimal(0)]
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            rows = till.committed()
            most[0] = max(most[0], sum(max(row) for row in rows))
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def test_fifty_parallel_steps_never_pass_their_cap_and_after_a_top_up_nothing_is_asked_twice(open_till: Any) -> None:
    with open_till() as till:
        with watched(till) as most:
            run_id = till.order(max_cost_usd=0.05)
            till.trial.await_status(run_id, "paused_budget")
            paused = till.show(run_id)
            answered = sum(step["status"] == "completed" for step in paused["steps"])
            assert paused["status"] == "paused_budget"
            assert Decimal(str(paused["cost"]["dollars"])) == answered * COST_USD
            # Most of the cap was of use: what is left is less than one call may cost at worst.
            assert answered >= 12
            assert sum(till.asked().values()) == answered
        assert most[0] <= Decimal("0.05")

        assert till.web.post(f"/runs/{run_id}/budget", json={"max_cost_usd": 1}).status_code == 200
        view = till.trial.finish(run_id)
        assert view.status.value == "completed"
        assert view.cost_usd == STEPS * COST_USD
        asked = till.asked()
        assert len(asked) == STEPS
        assert set(asked.values()) == {1}
        hold_promises(till.trial, run_id)


@pytest.mark.parametrize(
    ("variable", "reason"), [("MAX_COST_PER_DAY_DOLLARS", "day"), ("MAX_COST_PER_OWNER_DAY_DOLLARS", "owner")]
)
def test_the_cap_of_a_day_holds_over_runs_and_a_worker_with_a_higher_one_goes_on(
    open_till: Any, variable: str, reason: str
) -> None:
    with open_till(**{variable: "0.05"}) as till:
        with watched(till) as most:
            runs = [till.order(steps=15) for _ in range(2)]
            paused = "select count(*) from runs where status = 'paused_budget' and pause_reason = :reason"
            till.trial.await_that(lambda: till.trial.ask(paused, reason=reason) != [(0,)])
            till.trial.await_that(lambda: till.trial.ask("select 1 from runs where status = 'running'") == [])
        assert most[0] <= Decimal("0.05")
        assert sum(till.asked().values()) * COST_USD <= Decimal("0.05")

        till.trial.workers.kill_all()
        till.trial.workers.add(**{variable: "5"})
        till.trial.workers.start()
        for run_id in runs:
            assert till.trial.finish(run_id).status.value == "completed"
        asked = till.asked()
        assert sum(asked.values()) == 30
        assert set(asked.values()) == {2}  # both runs ask the same questions
