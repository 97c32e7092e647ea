"""Likes over HTTP while the worker that learns from them is killed again and again."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.http import create_app
from app.schema import ROOT
from app.studio.model import Structure
from tests.engine.trial import Trial

THRESHOLD = 25
CLIENTS = 25
LIKES, RECORDS = 300, 270  # a tenth comes twice
KILLS = 4
TRIES = "select coalesce(sum(attempts), 0) from steps where key = 'train'"
TRAINING = "select 1 from steps where key = 'train' and status = 'running'"


class LearningWorker:
    """The worker of the `learning` queue, as the Procfile starts it; parent and child die together."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "celery", "-A", "tasks.celery_app", "worker", "-P", "prefork", "-c", "1",
            "-Q", "learning", "--without-gossip", "--without-mingle", "--without-heartbeat", "-n", "learning@trial",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def learner(trial: Trial, tmp_path: Path) -> Iterator[LearningWorker]:
    worker = LearningWorker(trial.workers._environment, tmp_path / "learning.log")
    worker.start()
    yield worker
    worker.kill()


def prepare(trial: Trial) -> None:
    """Give structures that were liked and shown before, so that there is something to learn from."""
    structures = [
        Structure(
            str(at),
            f"look {at}",
            attributes={"colour": ("red", "blue")[at % 2], "length": float(at)},
            statistics={"liked": 12 - 10 * (at % 2), "shown": 20},
        )
        for at in range(20)
    ]
    trial.application.studio._store.catalogue.put_structures(structures)


def send_likes(trial: Trial, answers: list[dict[str, Any]]) -> list[threading.Thread]:
    app = create_app(trial.application)
    numbers = [at % RECORDS for at in range(LIKES)]

    def send(part: list[int]) -> None:
        client = app.test_client()
        for number in part:
            body = {"record_id": f"rec{number}", "structure_id": number % 20}
            answer = client.post(("/events/like", "/like_event")[number % 2], json=body)
            assert answer.status_code == 200
            answers.append(answer.get_json())
            time.sleep(0.3)

    threads = [threading.Thread(target=send, args=(numbers[at::CLIENTS],)) for at in range(CLIENTS)]
    for thread in threads:
        thread.start()
    return threads


def await_training(trial: Trial) -> None:
    """Wait for a new try of a training: a kill that hits nothing shows nothing."""
    tried = trial.ask(TRIES)[0][0]
    trial.await_that(lambda: trial.ask(TRIES)[0][0] > tried and trial.ask(TRAINING) != [], 60)


@pytest.mark.chaos
def test_no_like_is_lost_or_counted_twice_while_the_learning_worker_is_killed(
    trial: Trial, learner: LearningWorker
) -> None:
    prepare(trial)
    trial.workers.start(1)
    answers: list[dict[str, Any]] = []
    threads = send_likes(trial, answers)
    for _ in range(KILLS):
        await_training(trial)
        learner.kill()
        learner.start()
    for thread in threads:
        thread.join()

    def settled() -> bool:
        status = trial.application.studio.status()
        return not status["is_retraining"] and status["likes_since_last_retrain"] < THRESHOLD

    trial.await_that(settled, 90)
    statuses = Counter(answer["status"] for answer in answers)
    assert statuses["duplicate"] == LIKES - RECORDS
    assert trial.ask("select count(*), count(distinct record_id) from likes") == [(RECORDS, RECORDS)]
    cycles = trial.ask(
        "select c.likes_taken, c.status, c.trigger, c.reason, r.started_at, r.finished_at "
        "from learning_cycles c join runs r using (run_id) order by c.started_at"
    )
    assert {cycle[1] for cycle in cycles} <= {"trained", "kept_previous"}, cycles
    assert all(cycle[0] >= THRESHOLD for cycle in cycles)
    assert all(earlier[5] <= later[4] for earlier, later in itertools.pairwise(cycles)), cycles
    assert statuses["threshold_reached"] == sum(cycle[2] == "likes" for cycle in cycles)
    status = trial.application.studio.status()
    used = sum(cycle[0] for cycle in cycles)
    assert (status["total_likes_processed"], status["total_retrains"]) == (used, len(cycles))
    assert status["likes_since_last_retrain"] + used == RECORDS
    assert trial.ask("select count(*) from model_versions") == [(len(cycles),)]
    assert trial.ask("select count(*) from steps where key = 'train' and attempts > 1")[0][0] >= 1  # a kill did hit


def test_a_cycle_that_is_asked_for_answers_at_once_and_can_be_read_as_a_run(
    trial: Trial, learner: LearningWorker
) -> None:
    prepare(trial)
    trial.workers.start(1)
    client = create_app(trial.application).test_client()
    answer = client.post("/trigger_retrain")
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["status"], body["message"]) == ("triggered", "Learning cycle started in background")
    refused = client.post("/trigger_retrain")
    assert (refused.status_code, refused.get_json()["code"]) == (409, "retrain_in_progress")
    batch = client.post("/events/daily_batch", json={})
    assert (batch.status_code, batch.get_json()["error"]) == (200, "retrain_in_progress")
    trial.await_status(body["task_id"], "completed")
    run = client.get(f"/runs/{body['task_id']}").get_json()
    assert (run["kind"], run["result"]["status"]) == ("learning_cycle", "trained")
    assert [step["status"] for step in run["steps"]] == ["completed"] * 4
    status = client.get("/status").get_json()
    assert (status["is_retraining"], status["last_cycle"]["task_id"]) == (False, body["task_id"])
    assert client.get("/scores").get_json()["model_version"] == "preference-1"


def test_a_batch_waits_for_the_cycle_it_forces(trial: Trial, learner: LearningWorker) -> None:
    prepare(trial)
    trial.workers.start(1)
    client = create_app(trial.application).test_client()
    answer = client.post("/events/daily_batch", json={"force_retrain": True, "num_ideas": 1, "num_prompts": 3})
    body = answer.get_json()
    assert (answer.status_code, body["success"], body["retrain_triggered"]) == (200, True, True)
    assert body["summary"] == "Learning cycle completed. 1 new structure ideas generated. 3 prompts created."
