"""Workers that are killed at random moments."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import kombu.transport.redis
import pytest

from app.runs.model import RunStatus
from simulator import Simulator
from tests.engine import doubling
from tests.engine.documents import graph, inline, linear, tool
from tests.engine.promises import hold_promises
from tests.engine.saying import say
from tests.engine.trial import LEASE_S, Trial

pytestmark = pytest.mark.chaos
BROKEN_S = 60.0  # a lease, recovery and a worker's start take a fifth of it


def forty_steps(*, models: int = 6) -> list[dict[str, Any]]:
    """A workflow of forty steps in every kind of block."""
    asks = [{"id": f"m{n}", "model": "fast_ai", "prompt": f"Question {n}?"} for n in range(models)]
    return [
        inline(*(tool("work", f"a{n}", seconds=0.1) for n in range(8))),
        linear(*asks, *(tool("work", f"b{n}", seconds=0.2 + 0.1 * (n % 4)) for n in range(14 - models))),
        graph(
            tool("work", "top", seconds=0.1),
            *(tool("work", f"mid{n}", seconds=0.2, depends_on_=["top"]) for n in range(4)),
            tool("work", "end", seconds=0.1, depends_on_=[f"mid{n}" for n in range(4)]),
        ),
        inline(*(tool("mark", f"c{n}") for n in range(12))),
    ]


def kill_at_random(trial: Trial, chance: random.Random, goes_on: Callable[[], bool], *, most: int) -> list[float]:
    """Kill a worker now and then, and start another; gives the moments of the kills."""
    moments: list[float] = []
    while goes_on() and len(moments) < most:
        time.sleep(chance.uniform(0.2, 1.2))
        living = trial.workers.living
        if living:
            chance.choice(living).kill()
            moments.append(time.time())
        trial.workers.start(ready=False)
    return moments


def say_recovery(trial: Trial, moments: list[float]) -> None:
    """Say how long it took from each kill until the last step that was running then had begun again."""
    lost = trial.ask(
        "select extract(epoch from l.at), extract(epoch from (select min(s.at) from events s where s.run_id = l.run_id "
        "and s.step_key = l.step_key and s.type = 'step_started' and s.seq > l.seq)) from events l "
        "where l.type = 'step_lost' order by l.at"
    )
    waits = []
    for lost_at, again_at in lost:
        before = [moment for moment in moments if moment <= float(lost_at)]
        if before and again_at is not None:
            waits.append(float(again_at) - before[-1])
    if waits:
        say(
            f"{len(waits)} steps lost; began again {min(waits):.1f} to {max(waits):.1f} s after the last kill before it"
        )


def ask_models(trial: Trial, simulator: Simulator) -> None:
    """Let model steps reach the simulator."""
    trial.workers.add(OPENAI_BASE_URL=simulator.openai_url, OPENAI_API_KEY="sk-of-the-simulator")


def play_round(trial: Trial, simulator: Simulator, seed: int, *, kills: int, workers: int = 2, runs: int = 1) -> None:
    say(f"seed {seed}")
    chance = random.Random(seed)
    ask_models(trial, simulator)
    trial.workers.start(workers)
    run_ids = [trial.start(forty_steps()) for _ in range(runs)]
    moments = kill_at_random(
        trial, chance, lambda: any(trial.status(run_id) == "running" for run_id in run_ids), most=kills
    )
    for run_id in run_ids:
        trial.finish(run_id, BROKEN_S)
        view = hold_promises(trial, run_id)
        assert len(view.steps) == 40
    say_recovery(trial, moments)
    answered = trial.ask("select count(*) from calls where status = 'answered'")[0][0]
    sent = trial.ask("select count(*) from calls")[0][0]
    assert answered == 6 * runs
    assert simulator.count("/openai/v1/chat") <= sent


def test_a_workflow_of_forty_steps_survives_kills_at_random_moments(trial: Trial, simulator: Simulator) -> None:
    play_round(trial, simulator, random.randrange(10**9), kills=3)


@pytest.mark.prove
@pytest.mark.parametrize("_round", range(8))
def test_many_workflows_survive_many_kills(trial: Trial, simulator: Simulator, _round: int) -> None:
    play_round(trial, simulator, random.randrange(10**9), kills=25, workers=3, runs=10)


def test_a_step_whose_process_dies_between_effect_and_finish_is_tried_again_and_completes_once(trial: Trial) -> None:
    trial.workers.start(2)
    view = trial.run([inline(tool("poison_once", "p"), tool("mark", "after"))])
    assert view.status is RunStatus.COMPLETED
    assert trial.effects(view.run_id) == [("p", "effect", 1), ("p", "effect", 2), ("after", "mark", 1)]
    hold_promises(trial, view.run_id)


def began_again(trial: Trial, run_id: str) -> float:
    """When the last of the run's steps was begun for the last time, as seconds since 1970."""
    question = "select extract(epoch from max(at)) from events where run_id = :r and type = 'step_started'"
    return float(trial.ask(question, r=run_id)[0][0])


def test_work_goes_on_within_seconds_after_the_worker_that_does_it_is_killed(trial: Trial) -> None:
    trial.workers.start(2)
    run_id = trial.start([inline(tool("nap", "n", seconds=1.5))])
    trial.await_step(run_id, "n", "running")
    killed = time.time()
    trial.owner(run_id, "n").kill()
    trial.finish(run_id, BROKEN_S)
    waited = began_again(trial, run_id) - killed
    say(f"the step began again {waited:.1f} s after the kill, with a lease of {LEASE_S} s")
    assert trial.step(run_id, "n").attempts == 2
    assert 0 < waited < LEASE_S + 2 + 10
    hold_promises(trial, run_id)


@pytest.mark.prove
def test_with_the_usual_lease_work_goes_on_within_fifteen_seconds_of_a_kill(trial: Trial) -> None:
    trial.workers.add(LEASE_S="10")
    trial.workers.start(2)
    waits = []
    for _ in range(3):
        run_id = trial.start([linear(*(tool("nap", f"n{n}", seconds=3) for n in range(50)))])
        trial.await_that(lambda: trial.ask("select count(*) from steps where status = 'running'") == [(50,)])
        killed = time.time()
        trial.owner(run_id, "n0").kill()
        trial.finish(run_id, BROKEN_S)
        waits.append(began_again(trial, run_id) - killed)
        hold_promises(trial, run_id)
        trial.workers.start()
    say(f"fifty steps: the last began again {waits} s after the kill, with a lease of 10 s")
    assert max(waits) < 10 + 2 + 10


@pytest.mark.prove
def test_a_step_that_kills_every_process_fails_alone_and_the_run_goes_on(trial: Trial) -> None:
    trial.workers.add(LEASE_S="1")
    trial.workers.start(2)
    run_id = trial.start([linear(tool("poison", "p"), tool("mark", "beside")), inline(tool("mark", "after"))])
    deadline = time.monotonic() + 90
    while trial.status(run_id) == "running":
        assert time.monotonic() < deadline, trial.tell()
        if len(trial.workers.living) < 2:
            trial.workers.start(ready=False)
        time.sleep(0.05)
    view = trial.view(run_id)
    assert {step.key: step.status for step in view.steps} == {
        "p": "failed",
        "beside": "completed",
        "after": "completed",
    }
    assert len(trial.effects(run_id)) <= 6 + 2
    assert (view.steps[0].error or {})["code"] == "worker_lost"


def test_messages_that_all_come_twice_do_nothing_twice(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.workers.add(EXTENSIONS="tests.engine.tools,tests.engine.doubling")
    trial.workers.start(2)
    monkeypatch.setattr(kombu.transport.redis.Channel, "_put", kombu.transport.redis.Channel._put)
    doubling.register(trial.application.handlers)
    run_ids = [trial.start(forty_steps(models=0)) for _ in range(2)]
    for run_id in run_ids:
        trial.finish(run_id)
        view = hold_promises(trial, run_id)
        assert {step.attempts for step in view.steps} == {1}
