"""Versions: promotion, rollback, and what serves when an artifact does not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.errors import ConflictError
from app.learning.artifacts import FOLDER, ArtifactFolder
from app.learning.model import TrainingRows, Version
from app.learning.ports import UnusableArtifactError
from app.learning.service import ScorerRegistry
from app.learning.store import PgVersions
from app.settings import Settings
from tests.integration.learning.learners import ShareLearner

RUNS = [f"0190a000-0000-7000-8000-00000000000{at}" for at in range(6)]


def rows(liked: int) -> TrainingRows:
    return TrainingRows({"item": ["1"] * 10}, [1] * liked + [0] * (10 - liked), [1.0] * 10, list(map(float, range(10))))


class Registry:
    """A registry over one database and folder; every `reopened` one knows nothing but what is stored."""

    def __init__(self, engine: sa.Engine, data_dir: Path) -> None:
        self.learner = ShareLearner()
        self._engine, self._data_dir = engine, data_dir
        self.it = self.reopened()

    def reopened(self) -> ScorerRegistry:
        return ScorerRegistry(PgVersions(self._engine), ArtifactFolder(self._data_dir), [self.learner])

    def train(self, at: int, liked: int) -> Version:
        version = self.it.train("preference", rows(liked), RUNS[at])
        assert version is not None
        return version

    def score(self, *, reopened: bool = True) -> float | None:
        serving = (self.reopened() if reopened else self.it).serving("preference")
        return None if serving.scorer is None else serving.scorer.score({"item": ["1"]}).scores[0]

    def file(self, at: int) -> Path:
        return self._data_dir / FOLDER / "preference" / f"{RUNS[at]}.txt"


@pytest.fixture
def registry(settings: Settings, engine: sa.Engine) -> Registry:
    return Registry(engine, settings.storage.data_dir)


def test_a_promoted_version_serves_and_the_one_before_retires(registry: Registry) -> None:
    assert registry.score() is None
    registry.train(0, 2)
    registry.train(1, 7)
    assert registry.score() == pytest.approx(0.7)
    assert [version.status for version in registry.it.list_versions()] == ["serving", "retired"]


def test_a_version_that_is_not_better_is_kept_and_does_not_serve(registry: Registry) -> None:
    registry.train(0, 2)
    registry.learner.promotes = False
    assert registry.train(1, 7).status == "kept"
    assert registry.score() == pytest.approx(0.2)


def test_a_run_trains_once_however_often_it_is_repeated(registry: Registry) -> None:
    first = registry.train(0, 2)
    assert registry.train(0, 9) == first
    assert len(registry.learner.trained_on) == 1
    assert len(registry.it.list_versions()) == 1


def test_two_workers_that_train_for_one_run_record_one_version(registry: Registry) -> None:
    found: list[Version] = []
    barrier = threading.Barrier(2)

    def train() -> None:
        barrier.wait()
        found.append(registry.train(0, 3))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0].number == found[1].number
    assert len(registry.it.list_versions()) == 1


def test_a_run_that_lost_its_right_leaves_no_version(registry: Registry) -> None:
    assert registry.it.train("preference", rows(3), RUNS[0], lambda _: False) is None
    assert registry.it.list_versions() == []


def test_rolling_back_lets_the_version_before_serve_and_goes_on_to_the_plain_way(registry: Registry) -> None:
    registry.train(0, 2)
    registry.train(1, 7)
    withdrawn, serving = registry.it.roll_back("preference")
    assert serving is not None
    assert (withdrawn.name, serving.name) == ("preference-2", "preference-1")
    assert registry.score() == pytest.approx(0.2)
    assert registry.it.roll_back("preference")[1] is None
    assert registry.score() is None
    with pytest.raises(ConflictError):
        registry.it.roll_back("preference")


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "empty", "binary"])
def test_when_an_artifact_does_not_serve_the_version_before_it_does_and_health_says_so(
    registry: Registry, damage: str
) -> None:
    registry.train(0, 2)
    registry.train(1, 7)
    path = registry.file(1)
    text = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"cut": text[:-4].encode(), "foreign": b'{"kind": "other"}', "empty": b"", "binary": b"\xff\x00\x80"}[
                damage
            ]
        )
    assert registry.score() == pytest.approx(0.2)
    [problem] = registry.reopened().problems()
    assert problem.startswith("preference-2 does not serve: ")
    path.write_text(text)
    assert registry.score() == pytest.approx(0.7)
    assert registry.reopened().problems() == []


def test_a_process_that_has_it_loaded_notices_that_the_artifact_is_gone(registry: Registry) -> None:
    registry.train(0, 2)
    registry.train(1, 7)
    assert registry.score(reopened=False) == pytest.approx(0.7)
    registry.file(1).unlink()
    assert registry.score(reopened=False) == pytest.approx(0.2)
    assert registry.it.problems() != []


def test_a_version_of_another_feature_set_does_not_serve(registry: Registry) -> None:
    registry.train(0, 2)
    registry.learner.feature_set = "structures-2"
    registry.train(1, 7)
    registry.learner.feature_set = "structures-1"
    assert registry.score() == pytest.approx(0.2)
    assert "other features" in registry.reopened().problems()[0]


def test_with_every_artifact_broken_the_plain_way_serves_and_training_goes_on(registry: Registry) -> None:
    registry.train(0, 2)
    registry.file(0).write_text("nothing")
    assert registry.score() is None
    registry.train(1, 6)
    assert registry.score() == pytest.approx(0.6)


def test_an_artifact_never_lies_outside_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UnusableArtifactError):
        ArtifactFolder(tmp_path).read("../../etc/passwd", "0" * 64)
