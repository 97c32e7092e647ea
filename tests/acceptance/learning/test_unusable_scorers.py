"""Saved scorers that cannot be used: what serves instead, and what `/health` says of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from app.health import BEAT_KEY
from app.http import create_app
from app.learning.artifacts import FOLDER
from app.studio.examples import build_examples
from tests.acceptance.learning.test_likes_through_kills import LearningWorker, prepare
from tests.engine.trial import Trial

RUNS = [f"0190a000-0000-7000-8000-00000000000{at}" for at in range(2)]
DAMAGES = ("missing", "cut", "another_scorer", "no_text", "other_features")


class System:
    """A system with a worker, and two versions of which the second serves."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.client: FlaskClient = create_app(trial.application).test_client()
        prepare(trial)
        store = trial.application.studio._store
        examples = build_examples(store.catalogue.all_structures(), store.examples.shown(), store.examples.liked())
        for run_id in RUNS:
            version = trial.application.scorers.train("preference", examples, run_id)
            assert version is not None
            assert version.status == "serving"
        trial.application.redis.hset(BEAT_KEY, "at", f"{time.time():.3f}")

    def health(self) -> dict[str, Any]:
        answer = self.client.get("/health")
        assert answer.status_code == 200
        body: dict[str, Any] = answer.get_json()
        return body

    def damage(self, version: int, how: str) -> None:
        path = self.trial.application.settings.storage.data_dir / FOLDER / "preference" / f"{RUNS[version - 1]}.txt"
        if how == "missing":
            path.unlink()
        elif how == "other_features":
            change = sa.text("update model_versions set feature_set = 'structures-0' where number = :number")
            with self.trial.application.engine.begin() as connection:
                connection.execute(change, {"number": version})
        else:
            broken = {"cut": path.read_bytes()[:-4], "another_scorer": b'{"kind": "other"}', "no_text": b"\xff\x00\x80"}
            path.write_bytes(broken[how])

    def rescore(self) -> str:
        """Score anew, as after a rollback; which version the scores that callers see are from."""
        self.trial.application.studio.score_structures()
        return str(self.client.get("/scores").get_json()["model_version"])


@pytest.fixture
def system(trial: Trial) -> System:
    trial.workers.start(1)
    return System(trial)


@pytest.fixture
def learner(trial: Trial, tmp_path: Path) -> Iterator[LearningWorker]:
    worker = LearningWorker(trial.workers._environment, tmp_path / "learning.log")
    worker.start()
    yield worker
    worker.kill()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_scorer_that_cannot_be_used_degrades_health_and_the_one_before_it_serves(system: System, how: str) -> None:
    assert (system.health()["status"], system.health()["warnings"]) == ("healthy", [])
    assert system.rescore() == "preference-2"
    system.damage(2, how)
    health = system.health()
    assert health["status"] == "degraded"
    assert [warning.split()[0] for warning in health["warnings"]] == ["preference-2"]
    assert set(health["checks"].values()) == {"ok"}
    assert system.rescore() == "preference-1"
    shown = system.client.get("/structures/1").get_json()
    assert shown["model_version"] == "preference-1"
    assert len(shown["explanation"]) > 1
    batch = system.client.post("/events/daily_batch", json={"num_ideas": 0, "num_prompts": 3})
    assert (batch.status_code, batch.get_json()["success"], batch.get_json()["prompts_generated"]) == (200, True, 3)


def test_with_no_usable_scorer_left_the_rates_serve_and_the_next_training_mends_it(
    system: System, learner: LearningWorker
) -> None:
    system.damage(1, "other_features")
    system.damage(2, "missing")
    assert system.health()["status"] == "degraded"
    assert system.rescore() == "rates"
    assert system.client.get("/structures/1").get_json()["model_version"] == "rates"
    likes = [system.client.post("/events/like", json={"structure_id": 1}) for _ in range(3)]
    assert [like.get_json()["status"] for like in likes] == ["recorded"] * 3
    asked = {"force_retrain": True, "num_ideas": 0, "num_prompts": 3}
    batch = system.client.post("/events/daily_batch", json=asked).get_json()
    assert (batch["success"], batch["summary"]) == (True, "Learning cycle completed. 3 prompts created.")
    assert (system.health()["status"], system.health()["warnings"]) == ("healthy", [])
    assert system.client.get("/scores").get_json()["model_version"] == "preference-3"
