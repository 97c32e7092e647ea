"""A host on which scorers can be neither trained nor read: everything else goes on, and says so."""

from __future__ import annotations

from typing import Any

import pytest

from app.learning.model import Trained, TrainingRows
from app.learning.ports import Scorer
from tests.integration.learning.learners import ShareLearner
from tests.integration.studio.harness import MakeStudio, Studio

PROBLEM = "LightGBM cannot be loaded (libgomp.so.1: cannot open shared object file): install libgomp"


class Unlinked(ShareLearner):
    """A learner whose library the system's loader refuses."""

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        raise OSError("libgomp.so.1: cannot open shared object file")

    def load(self, artifact: str) -> Scorer:
        raise OSError("libgomp.so.1: cannot open shared object file")


@pytest.fixture
def unlinked(make_studio: MakeStudio) -> Studio:
    """A studio that has learned once, on a host that has lost its library since."""
    studio = make_studio(like_threshold=3, learner=ShareLearner())
    like(studio, 3)
    assert studio.run_cycle()["status"] == "trained"
    return make_studio(like_threshold=3, learner=Unlinked(), library=lambda: PROBLEM)


def like(studio: Studio, count: int) -> list[dict[str, Any]]:
    return [studio.service.record_like({"structure_id": 1}) for _ in range(count)]


def test_a_retrain_is_skipped_with_the_reason_and_its_likes_stay_free(unlinked: Studio) -> None:
    like(unlinked, 3)
    ended = unlinked.run_cycle()
    assert ended["status"] == "skipped"
    assert PROBLEM in ended["reason"]
    status = unlinked.service.status()
    assert PROBLEM in status["last_error"]
    assert (status["likes_since_last_retrain"], status["total_retrains"]) == (3, 1)
    assert unlinked.rows("select count(*) from likes where cycle_run_id is null") == [(3,)]


def test_smoothed_rates_serve_and_a_batch_says_so(unlinked: Studio) -> None:
    like(unlinked, 2)
    answer = unlinked.run_daily(num_ideas=0, num_prompts=2, force_retrain=True)
    assert (answer["success"], answer["prompts_generated"]) == (True, 2)
    assert answer["summary"].startswith("Learning cycle skipped. ")
    assert unlinked.service.scores()["model_version"] == "rates"
    assert any(PROBLEM in note for note in answer["degraded"])


def test_health_is_told_before_anything_is_trained(make_studio: MakeStudio) -> None:
    [warning] = make_studio(library=lambda: PROBLEM).registry.problems()
    assert warning == f"Nothing is learned, and smoothed rates serve. {PROBLEM}."


def test_a_full_disk_is_not_taken_for_a_missing_library(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=3, learner=ShareLearner(fails=OSError("No space left on device")))
    like(studio, 3)
    with pytest.raises(OSError, match="No space left"):
        studio.run_cycle()


def test_when_the_library_is_there_the_version_that_was_learned_serves_again(
    unlinked: Studio, make_studio: MakeStudio
) -> None:
    unlinked.service.score_structures()
    assert unlinked.service.scores()["model_version"] == "rates"
    mended = make_studio(learner=ShareLearner())
    assert mended.service.score_structures().source == "preference-1"
    assert mended.registry.problems() == []
