"""A vendor's rate, kept by all workers together, as the vendor counts it."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import pytest

from app.runs.model import RunStatus, RunView
from simulator import Simulator
from tests.engine.documents import linear
from tests.engine.promises import hold_promises
from tests.engine.saying import say
from tests.engine.trial import Trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]
CHAT = "/openai/v1/chat"
BURST = 10  # of the shipped registry
LATE_S = 0.25
"""By how much one request may take longer than another from the gate to the vendor on a busy machine."""


def ask_many(trial: Trial, simulator: Simulator, steps: int, rpm: int, timeout_s: float) -> RunView:
    trial.workers.add(
        OPENAI_BASE_URL=simulator.openai_url, OPENAI_API_KEY="sk-of-the-simulator", RATE_LIMIT_OPENAI_RPM=str(rpm)
    )
    trial.workers.start(2)
    questions: list[dict[str, Any]] = [
        {"id": f"q{n}", "model": "fast_ai", "prompt": f"Question {n}?", "output_variable": f"a{n}"}
        for n in range(steps)
    ]
    return trial.finish(trial.start([linear(*questions)]), timeout_s)


def moments(simulator: Simulator) -> list[float]:
    return sorted(entry["at"] for entry in simulator.log(CHAT))


def most_within(times: list[float], window_s: float) -> int:
    return max(bisect_left(times, start + window_s) - place for place, start in enumerate(times))


def test_five_hundred_steps_keep_within_a_rate_and_none_is_asked_twice(trial: Trial, simulator: Simulator) -> None:
    view = ask_many(trial, simulator, 500, rpm=3000, timeout_s=60)

    assert view.status is RunStatus.COMPLETED
    times = moments(simulator)
    say(f"500 requests at 50 a second took {times[-1] - times[0]:.1f} s")
    assert len(times) == 500
    for window_s in (0.5, 1.0, 2.0, 5.0):
        assert most_within(times, window_s) <= BURST + (window_s + LATE_S) * 50 + 1
    assert times[-1] - times[0] < 2 * 500 / 50  # the rate is used
    hold_promises(trial, view.run_id)


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_five_hundred_steps_keep_within_sixty_a_minute(trial: Trial, simulator: Simulator) -> None:
    view = ask_many(trial, simulator, 500, rpm=60, timeout_s=1000)

    times = moments(simulator)
    say(f"500 requests at 60 a minute took {times[-1] - times[0]:.0f} s; at most {most_within(times, 60)} in a minute")
    assert view.status is RunStatus.COMPLETED
    assert len(times) == 500
    assert most_within(times, 60) <= 60
    assert times[-1] - times[0] < 600
    hold_promises(trial, view.run_id)
