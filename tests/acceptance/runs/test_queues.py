"""Which waiting steps are taken first."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.engine.documents import inline, linear, tool
from tests.engine.saying import say
from tests.engine.trial import Trial

EACH = 300
LOOKED_AT = 200


def fill(trial: Trial, shape: str, priorities: tuple[str, ...], each: int) -> None:
    """Let so many steps of each priority wait before any worker is there."""
    trial.make_places(3 * EACH)
    for priority in priorities:
        if shape == "linear":
            for _ in range(each // 100):
                trial.start([linear(*(tool("echo", f"s{n}") for n in range(100)))], priority=priority)
        else:
            for _ in range(each):
                trial.start([inline(tool("echo", "s"))], priority=priority)


def first_started(trial: Trial, count: int) -> Counter[str]:
    question = (
        "select r.priority from steps s join runs r using (run_id) where s.started_at is not null "
        "order by s.started_at limit :count"
    )
    trial.await_that(lambda: len(trial.ask(question, count=count)) == count)
    return Counter(str(row[0]) for row in trial.ask(question, count=count))


@pytest.mark.parametrize("shape", ["linear", "inline"])
def test_of_three_full_queues_the_first_two_hundred_divide_six_to_three_to_one(trial: Trial, shape: str) -> None:
    fill(trial, shape, ("low", "medium", "high"), EACH)
    trial.workers.start(concurrency=4)
    shares = {name: count / LOOKED_AT for name, count in first_started(trial, LOOKED_AT).items()}
    say(f"{shape}: {shares}")
    assert shares == {
        "high": pytest.approx(0.6, abs=0.05),
        "medium": pytest.approx(0.3, abs=0.05),
        "low": pytest.approx(0.1, abs=0.05),
    }


def test_with_only_low_waiting_it_goes_at_full_speed(trial: Trial) -> None:
    fill(trial, "linear", ("low",), EACH)
    trial.workers.start(concurrency=4)
    question = "select extract(epoch from max(finished_at) - min(started_at)) from steps"
    trial.await_that(lambda: trial.ask("select count(*) from steps where status = 'completed'") == [(EACH,)])
    say(f"{EACH} low steps in {float(trial.ask(question)[0][0]):.2f} s")
    low = float(trial.ask(question)[0][0])
    started = time.monotonic()
    fill(trial, "linear", ("high",), EACH)
    trial.await_that(lambda: trial.ask("select count(*) from steps where status = 'completed'") == [(2 * EACH,)])
    high = time.monotonic() - started
    say(f"{EACH} high steps in {high:.2f} s")
    assert low < 10 * high + 5
