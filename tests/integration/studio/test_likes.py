"""Likes as a caller sees them; `tests/integration/learning` has what they set off."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from app.errors import InvalidError
from tests.integration.studio.harness import MakeStudio, Studio


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


def await_waiting(studio: Studio, count: int) -> None:
    """Wait until so many likes wait behind the one that is being written."""
    until = time.monotonic() + 10
    while len(studio.cycles._likes._waiting) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_likes_that_wait_for_the_counter_together_count_as_if_they_had_come_alone(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=4)
    answers: list[dict[str, Any]] = []

    def send(record_id: str | None) -> None:
        answers.append(studio.service.record_like({"record_id": record_id, "structure_id": 1}))

    # Of twelve, one comes again; two name no record and count both.
    records = [*(f"rec{at}" for at in range(9)), "rec3", None, None]
    threads = [threading.Thread(target=send, args=(record_id,)) for record_id in records]
    with studio.store.engine.begin() as connection:
        studio.store.cycles.lock(connection)
        for thread in threads:
            thread.start()
        await_waiting(studio, len(records) - 1)
    for thread in threads:
        thread.join()
    statuses = Counter(answer["status"] for answer in answers)
    assert statuses == {"recorded": 3, "threshold_reached": 1, "queued": 7, "duplicate": 1}
    assert studio.rows("select count(*) from likes") == [(11,)]
    assert studio.rows("select likes_taken, trigger from learning_cycles") == [(4, "likes")]
    assert studio.rows("select count(*) from likes where cycle_run_id is null") == [(7,)]
    assert studio.service.health()["likes_since_last_retrain"] == 7
    counted = sorted(one["likes_since_last_retrain"] for one in answers if one["status"] != "duplicate")
    assert counted == [1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7]
    assert len(studio.runs.published) == 1


def test_likes_that_come_side_by_side_share_a_transaction(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=1000)
    threads = [threading.Thread(target=studio.service.record_like, args=({"structure_id": at},)) for at in range(20)]
    with studio.store.engine.begin() as connection:
        studio.store.cycles.lock(connection)
        for thread in threads:
            thread.start()
        await_waiting(studio, len(threads) - 1)
    for thread in threads:
        thread.join()
    assert studio.rows("select count(*), count(distinct xmin::text) from likes") == [(20, 2)]
    assert studio.service.health()["likes_since_last_retrain"] == 20
