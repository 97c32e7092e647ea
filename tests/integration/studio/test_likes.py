"""Likes: durable, counted once, whoever races."""

from __future__ import annotations

import threading
import time

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


def test_the_threshold_is_reached_once_and_the_counter_goes_on(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=2)
    answers = [studio.service.record_like({"record_id": f"rec{number}"}) for number in range(5)]
    assert [answer["status"] for answer in answers] == ["recorded", "threshold_reached"] * 2 + ["recorded"]
    assert [answer["likes_since_last_retrain"] for answer in answers] == [1, 2, 3, 4, 5]
    assert [answer["threshold_reached"] for answer in answers] == [False, True, False, True, False]
    assert not any(answer["retrain_triggered"] for answer in answers)


def test_a_like_during_a_cycle_is_queued_and_counted(studio: Studio) -> None:
    studio.store.state.overwrite({"cycle_run_id": "0190a000-0000-7000-8000-000000000000"})
    answer = studio.service.record_like({"record_id": "rec1"})
    assert (answer["status"], answer["likes_since_last_retrain"], answer["threshold_reached"]) == ("queued", 1, False)
    assert studio.service.health()["is_retraining"] is True


def test_a_thousand_likes_of_25_clients_with_repeated_records_count_each_record_once(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=25)
    numbers = [number % 900 for number in range(1000)]
    statuses: list[str] = []
    times: list[float] = []

    def send(part: list[int]) -> None:
        for number in part:
            begun = time.perf_counter()
            statuses.append(studio.service.record_like({"record_id": f"rec{number}"})["status"])
            times.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=send, args=(numbers[at::25],)) for at in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert studio.rows("select count(*) from likes") == [(900,)]
    assert studio.service.health()["likes_since_last_retrain"] == 900
    assert {status: statuses.count(status) for status in set(statuses)} == {
        "recorded": 864,
        "threshold_reached": 36,
        "duplicate": 100,
    }


def test_a_reset_clears_the_counter_and_keeps_the_likes(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=3)
    for number in range(4):
        studio.service.record_like({"record_id": f"rec{number}"})
    assert studio.service.reset_counter() == {"status": "reset", "likes_since_last_retrain": 0}
    assert studio.rows("select count(*) from likes") == [(4,)]
    statuses = [studio.service.record_like({"structure_id": 1})["status"] for _ in range(3)]
    assert statuses == ["recorded", "recorded", "threshold_reached"]
    assert studio.service.status()["total_retrains"] == 0


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
