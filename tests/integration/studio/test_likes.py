"""Likes as a caller sees them; `tests/integration/learning` has what they set off."""

from __future__ import annotations

import pytest

from app.errors import InvalidError
from tests.integration.studio.harness import Studio


def test_a_like_is_recorded_and_says_how_many_are_left(studio: Studio) -> None:
    assert studio.service.record_like(
        {"record_id": "rec1", "structure_id": "42", "image_url": "https://x.example/1"}
    ) == {
        "status": "recorded",
        "likes_since_last_retrain": 1,
        "threshold": 25,
        "threshold_reached": False,
        "retrain_triggered": False,
        "message": "Like recorded. 24 until next learning cycle.",
    }
    assert studio.rows("select record_id, structure_id from likes") == [("rec1", "42")]


def test_the_same_record_again_is_a_duplicate_whatever_else_it_says(studio: Studio) -> None:
    studio.service.record_like({"record_id": "rec1", "structure_id": 1})
    again = studio.service.record_like({"record_id": "rec1", "structure_id": 2})
    assert (again["status"], again["likes_since_last_retrain"]) == ("duplicate", 1)
    assert studio.rows("select count(*) from likes") == [(1,)]


def test_likes_without_a_record_all_count(studio: Studio) -> None:
    for _ in range(3):
        studio.service.record_like({"structure_id": 42})
    assert studio.service.health()["likes_since_last_retrain"] == 3


def test_a_bad_like_stores_nothing(studio: Studio) -> None:
    with pytest.raises(InvalidError):
        studio.service.record_like({})
    assert studio.rows("select count(*) from likes") == [(0,)]


def test_the_original_state_file_replaces_the_counters(studio: Studio) -> None:
    studio.service.record_like({"record_id": "rec1"})
    taken = studio.service.import_state(
        {
            "likes_since_last_retrain": 15,
            "last_retrain_at": "2025-01-15T06:00:00Z",
            "last_like_at": None,
            "total_retrains": 12,
            "total_likes_processed": 342,
            "last_batch_at": "2025-01-15T06:00:00+00:00",
            "total_batches": 45,
            "last_batch_result": {"ideas": 4, "prompts": 3, "retrain_triggered": False},
            "last_generation_at": "2025-01-15T14:30:00Z",
            "total_generations": 89,
            "last_generation_result": None,
            "cached_structure_scores": {"42": 0.87, "67": 0.72},
            "scores_cached_at": "2025-01-15T06:00:00Z",
        }
    )
    assert taken["total_batches"] == 45
    status = studio.service.status()
    assert {name: status[name] for name in ("likes_since_last_retrain", "total_retrains", "total_generations")} == {
        "likes_since_last_retrain": 15,
        "total_retrains": 12,
        "total_generations": 89,
    }
    assert status["last_retrain_at"] == "2025-01-15T06:00:00+00:00"
    scores = studio.service.scores()
    assert (scores["scores"], scores["is_fresh"], scores["count"]) == ({"42": 0.87, "67": 0.72}, False, 2)


def test_the_status_has_every_field_callers_know_from_the_first_moment(studio: Studio) -> None:
    assert set(studio.service.status()) == {
        "service", "version", "threshold", "exploration_rate", "likes_since_last_retrain", "last_retrain_at",
        "last_like_at", "total_retrains", "total_likes_processed", "is_retraining", "last_error", "last_batch_at",
        "total_batches", "last_batch_result", "last_generation_at", "total_generations", "last_generation_result",
        "cached_structure_scores", "cached_scores_count", "scores_cached_at", "last_cycle",
    }  # fmt: skip
    assert studio.service.scores() == {
        "scores": {},
        "cached_at": None,
        "is_fresh": False,
        "count": 0,
        "model_version": None,
    }
