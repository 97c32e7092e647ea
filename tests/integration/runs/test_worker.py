"""A worker's parts in this process, without Celery."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.runs.worker import StepWorker
from tests.engine.documents import inline, linear, tool
from tests.engine.fixtures import trial
from tests.engine.trial import Trial

__all__ = ["trial"]


@pytest.fixture
def worker(trial: Trial) -> Iterator[StepWorker]:
    """A started worker on the trial's database."""
    trial.make_places()
    started = trial.application.make_worker("test")
    started.start()
    yield started
    started.close()


def begin(worker: StepWorker, run_id: str, key: str) -> Future[bool]:
    """Give a step to the worker, as its pool does for a message."""
    done: Future[bool] = Future()
    worker.submit(worker.runner.run, (run_id, key), lambda task: done.set_result(task.result()))
    return done


def test_what_cannot_be_finished_in_the_grace_is_handed_back_and_can_be_claimed_at_once(
    trial: Trial, worker: StepWorker, tmp_path: Path
) -> None:
    run_id = trial.start([linear(tool("gate", "g", path=str(tmp_path / "open")), tool("nap", "n", seconds=0.2))])
    given = [begin(worker, run_id, key) for key in ("g", "n")]
    trial.await_step(run_id, "n", "completed")
    worker.drain(0.1)
    assert [future.result(5) for future in given] == [False, False]
    assert trial.ask("select status, owner, crashes from steps where key = 'g'") == [("ready", None, 0)]
    trial.await_that(lambda: ("step_handed_back", "g") in trial.events(run_id))
    assert trial.ask("select placed from steps where key = 'g'") == [(True,)]


def test_a_worker_gives_its_lease_up_when_it_ends(trial: Trial) -> None:
    started = trial.application.make_worker("test")
    started.start()
    assert trial.ask("select role from processes") == [("test",)]
    started.close()
    assert trial.ask("select role from processes") == []


def test_what_goes_on_beside_the_steps_has_ended_when_the_worker_has(trial: Trial) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def go_on(_process_id: str, _journal: object) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)  # more than one turn of the loop
            ended.set()

    started = trial.application.make_worker("test")
    started._parts = replace(started._parts, companion=go_on)
    started.start()
    assert begun.wait(5)
    started.close()
    assert ended.is_set()


def test_a_claim_whose_answer_was_lost_in_a_live_process_does_not_stay_running_for_ever(
    trial: Trial, worker: StepWorker
) -> None:
    run_id = trial.start([inline(tool("nap", "a", seconds=0))])
    claim = {"op": "claim", "run": run_id, "key": "a", "claim": "lost"}
    asyncio.run_coroutine_threadsafe(worker.journal.write(claim), worker.loop).result(5)
    trial.await_step(run_id, "a", "ready")
    assert begin(worker, run_id, "a").result(10) is False
    assert trial.view(run_id).status == "completed"


def test_a_lease_is_renewed_while_the_worker_lives(trial: Trial, worker: StepWorker) -> None:
    question = "select expires_at from processes"
    first = trial.ask(question)
    trial.await_that(lambda: trial.ask(question) > first)


def test_a_run_that_is_started_by_a_connection_joins_its_transaction(trial: Trial) -> None:
    from app.runs.model import RunRequest
    from tests.engine.documents import parse

    trial.make_places()
    request = RunRequest("workflow", parse([inline(tool("mark", "a"))]), "me")
    with trial.application.engine.connect() as connection:
        started = trial.runs.start_run(request, connection)
        assert trial.ask("select 1 from runs") == []
        connection.rollback()
    assert trial.ask("select 1 from runs where run_id = :r", r=started.run_id) == []
    assert trial.application.redis.llen("inline.medium") == 0


def test_more_than_half_the_web_threads_do_not_wait(trial: Trial) -> None:
    trial.make_places()
    run_id = trial.start([inline(tool("mark", "a"))])
    most = trial.application.settings.web.threads // 2
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(trial.runs.wait_for_end(run_id, 1.5))) for _ in range(most)
    ]
    for thread in threads:
        thread.start()
    trial.await_that(lambda: trial.application.runs._listener.waiting == most)
    started = time.monotonic()
    assert trial.runs.wait_for_end(run_id, 30) is None
    assert time.monotonic() - started < 10
    for thread in threads:
        thread.join()
    assert answers == [None] * most
