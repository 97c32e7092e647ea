"""Feedback over HTTP, a training on the learning worker, and the next ranking made with what it learned."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.http import create_app
from tests.acceptance.learning.test_likes_through_kills import LearningWorker
from tests.engine.trial import Trial
from tests.integration.learning.judging import ENOUGH, PEOPLE, ROLES, judgements, make_office

PATIENCE_S = 60.0  # a worker's start and a training take a few


@pytest.fixture
def learner(trial: Trial, tmp_path: Path) -> Iterator[LearningWorker]:
    worker = LearningWorker(trial.workers._environment, tmp_path / "learning.log")
    worker.start()
    yield worker
    worker.kill()


def test_feedback_trains_on_the_learning_worker_and_the_ranking_says_with_which_version(
    trial: Trial, learner: LearningWorker
) -> None:
    application = trial.application
    trial.make_places()
    make_office(application.settings, application.engine).hear(judgements(ENOUGH))
    client = create_app(application).test_client()
    asked = {"role": ROLES[0], "person_ids": list(range(PEOPLE))}

    def rank() -> dict[str, Any]:
        data: dict[str, Any] = client.post("/v1/assign", json=asked).get_json()["data"]
        return data

    assert rank()["model_version"] == "heuristic"
    answers = [
        client.post("/v1/feedback", json={"role": ROLES[0], "person_id": 1, "result": "aceptada"}).get_json()["data"]
        for _ in range(3)
    ]
    assert [answer["ml_status"] for answer in answers] == ["scheduled"] * 3
    until = time.monotonic() + PATIENCE_S
    while rank()["model_version"] == "heuristic" and time.monotonic() < until:
        time.sleep(0.1)
    assert rank()["model_version"] == "assignment-1"
    [training] = application.runs.list_runs(owner=None, kind="assignment_training").items
    while not application.runs.get_run(training.run_id, owner=None).status.ended and time.monotonic() < until:
        time.sleep(0.1)
    assert application.answers.shape(application.runs.get_run(training.run_id, owner=None))["status"] == "trained"
