"""Likes over HTTP while the worker that learns from them is killed again and again."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.formation import plan_children
from app.http import create_app
from app.runs.model import new_run_id
from app.schema import ROOT
from app.servers.identity import launch_command
from app.settings import Settings
from app.studio.model import Structure
from tests.engine.trial import Trial

THRESHOLD = 25
CLIENTS = 25
LIKES, RECORDS = 1000, 900  # a tenth comes twice
STRUCTURES = 20
SHOWN = 1500
PROMPTS = (
    "insert into prompts (run_id, step_key, place, text, structure_id, source, fingerprint) select cast(:run as uuid), "
    "'prompts', n, 'look ' || n, (n % :structures)::text, 'plain', n::text from generate_series(1, :shown) n"
)
TRAINING = "select run_id::text from steps where key = 'train' and status = 'running'"


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
        for at in range(STRUCTURES)
    ]
    trial.application.studio._store.catalogue.put_structures(structures)


def show(trial: Trial) -> None:
    """Show more prompts than are liked, of every structure: only beside those left lying is a like a choice."""
    with trial.application.engine.begin() as connection:
        connection.execute(sa.text(PROMPTS), {"shown": SHOWN, "structures": STRUCTURES, "run": new_run_id()})


class Web:
    """The web process, as the Procfile starts it."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        environment = {**environment, "HOST": "127.0.0.1", "PORT": str(self._port)}
        [child] = [one for one in plan_children(Settings.from_env(environment)) if one.name == "web"]
        programs = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                launch_command(("--die-with", f"{os.getpid()}:{int(signal.SIGKILL)}"), list(child.command)),
                cwd=ROOT, env={**environment, "PATH": programs}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def wait_until_ready(self) -> None:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                self.status()
                return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until
            time.sleep(0.1)

    def status(self) -> dict[str, Any]:
        with contextlib.closing(self.connect()) as connection:
            return ask(connection, "GET", "/status")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def web(trial: Trial, tmp_path: Path) -> Iterator[Web]:
    process = Web(trial.workers._environment, tmp_path / "web.log")
    try:
        process.wait_until_ready()
        yield process
    finally:
        process.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> dict[str, Any]:
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    read: dict[str, Any] = json.loads(answer.read())
    assert answer.status == 200, read
    return read


class Clients:
    """25 callers side by side, who send likes when they are let; a tenth of the records comes twice."""

    def __init__(self, web: Web) -> None:
        numbers = [at % RECORDS for at in range(LIKES)]
        self.answers: list[dict[str, Any]] = []
        self._web = web
        self._parts = [numbers[at::CLIENTS] for at in range(CLIENTS)]

    def start(self, wave: int, waves: int) -> list[threading.Thread]:
        """Send a share of the likes, from all callers."""
        threads = []
        for part in self._parts:
            share = part[wave * len(part) // waves : (wave + 1) * len(part) // waves]
            threads.append(threading.Thread(target=self._send, args=(share,)))
            threads[-1].start()
        return threads

    def _send(self, share: list[int]) -> None:
        with contextlib.closing(self._web.connect()) as connection:
            for number in share:
                body = {"record_id": f"rec{number}", "structure_id": number % STRUCTURES}
                self.answers.append(ask(connection, "POST", ("/events/like", "/like_event")[number % 2], body))


def kill_in_a_training(trial: Trial, learner: LearningWorker, hit: set[str]) -> None:
    """Kill the worker in the middle of a training that was not hit before."""

    def fresh() -> set[str]:
        return {run_id for (run_id,) in trial.ask(TRAINING)} - hit

    trial.await_that(lambda: bool(fresh()), 60)
    hit |= fresh()
    learner.kill()
    learner.start()


@pytest.mark.chaos
@pytest.mark.parametrize("kills", [3, pytest.param(12, marks=pytest.mark.prove)])
def test_a_thousand_likes_of_25_clients_are_each_counted_once_while_the_learning_worker_is_killed(
    trial: Trial, learner: LearningWorker, web: Web, kills: int
) -> None:
    prepare(trial)
    show(trial)
    trial.workers.start(1)
    clients = Clients(web)
    hit: set[str] = set()
    for wave in range(kills + 1):
        threads = clients.start(wave, kills + 1)
        if wave < kills:
            kill_in_a_training(trial, learner, hit)
        for thread in threads:
            thread.join()

    def settled() -> bool:
        status = web.status()
        return not status["is_retraining"] and status["likes_since_last_retrain"] < THRESHOLD

    trial.await_that(settled, 120)
    statuses = Counter(answer["status"] for answer in clients.answers)
    assert (len(clients.answers), statuses["duplicate"]) == (LIKES, LIKES - RECORDS)
    # Each kill did hit a training.
    tried_again = "select count(*) from steps where key = 'train' and attempts > 1"
    assert trial.ask(tried_again) == [(kills,)]
    # Likes recorded are the distinct ids.
    assert trial.ask("select count(*), count(distinct record_id) from likes") == [(RECORDS, RECORDS)]
    # The cycles are those that the threshold says, and none ran beside another.
    cycles = trial.ask(
        "select c.likes_taken, c.trigger, c.status, r.started_at, r.finished_at, "
        "(select count(*) from likes l where l.cycle_run_id = c.run_id and l.consumed_at is not null) "
        "from learning_cycles c join runs r using (run_id) order by c.started_at"
    )
    assert {cycle[2] for cycle in cycles} <= {"trained", "kept_previous"}, cycles
    assert all(taken == THRESHOLD for taken, trigger, *_ in cycles if trigger == "likes"), cycles
    assert all(taken >= THRESHOLD for taken, trigger, *_ in cycles if trigger == "queued_likes"), cycles
    assert statuses["threshold_reached"] == sum(cycle[1] == "likes" for cycle in cycles)
    assert {cycle[1] for cycle in cycles} <= {"likes", "queued_likes"}
    assert all(cycle[0] == cycle[5] for cycle in cycles), cycles
    assert all(earlier[4] <= later[3] for earlier, later in itertools.pairwise(cycles)), cycles
    assert trial.ask("select count(*) from model_versions") == [(len(cycles),)]
    # The counter is right afterwards.
    status = web.status()
    used = sum(cycle[0] for cycle in cycles)
    assert (status["total_likes_processed"], status["total_retrains"]) == (used, len(cycles))
    assert status["likes_since_last_retrain"] == RECORDS - used < THRESHOLD
    assert trial.ask("select count(*) from likes where cycle_run_id is null") == [(RECORDS - used,)]


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
