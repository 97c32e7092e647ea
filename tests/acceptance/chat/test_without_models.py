"""Chats where nothing can answer, or too many wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.bootstrap import build
from app.http import create_app
from app.http.waiting import EXTENSION
from app.settings import Settings


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Any) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path), "WEB_THREADS": "2"}


def serve(environment: dict[str, str]) -> Iterator[FlaskClient]:
    application = build(Settings.from_env(environment))
    yield create_app(application).test_client()
    application.runs._listener.close()
    application.redis.close()
    application.engine.dispose()


@pytest.fixture
def bare(environment: dict[str, str]) -> Iterator[FlaskClient]:
    """A door with no provider."""
    yield from serve(environment)


@pytest.fixture
def unattended(environment: dict[str, str]) -> Iterator[FlaskClient]:
    """A door with a provider and no worker."""
    yield from serve({**environment, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})


@pytest.mark.parametrize("stream", [True, False])
def test_without_a_provider_the_variable_to_set_is_named_and_nothing_is_begun(
    bare: FlaskClient, *, stream: bool
) -> None:
    response = bare.post("/chat", json={"message": "Anyone?", "session_id": "mine", "stream": stream})
    assert response.status_code == 503
    assert response.get_json()["code"] == "not_configured"
    assert "OPENAI_API_KEY" in response.get_json()["detail"]
    assert int(response.headers["Retry-After"]) > 0
    assert bare.get("/session/mine").status_code == 404
    assert bare.get("/runs").get_json() == []


def test_a_warm_up_without_a_provider_does_not_pretend(bare: FlaskClient) -> None:
    response = bare.post("/chat/warmup", json={})
    assert response.status_code == 503
    assert response.get_json()["code"] == "not_configured"
    assert bare.get("/runs").get_json() == []


def test_health_counts_the_models_that_the_list_shows_as_available(unattended: FlaskClient) -> None:
    listed = unattended.get("/models").get_json()["models"]
    assert unattended.get("/health").get_json()["models_available"] == sum(each["available"] for each in listed) > 0


def test_a_dry_run_without_a_provider_says_what_is_missing(bare: FlaskClient) -> None:
    answer = bare.post("/chat", json={"message": "Plan a campaign with posts and pictures", "dry_run": True}).get_json()
    assert [step["model"] for step in answer["steps"]] == [
        "categorizer_ai",
        "thinking_fast_response_ai",
        "thinking_ai",
        "finished_task_ai",
    ]
    assert "OPENAI_API_KEY" in answer["missing"]


def test_a_chat_that_nobody_does_yet_is_answered_with_where_to_look(unattended: FlaskClient) -> None:
    response = unattended.post("/chat", json={"message": "Anyone?"}, headers={"Prefer": "wait=0"})
    assert response.status_code == 202
    assert response.get_json()["status_url"] == response.headers["Location"]


def test_streams_beyond_half_of_the_threads_are_refused_and_begin_nothing(unattended: FlaskClient) -> None:
    room = unattended.application.extensions[EXTENSION]
    assert room.try_enter()
    response = unattended.post("/chat", json={"message": "Anyone?", "stream": True})
    assert response.status_code == 503
    assert unattended.get("/runs").get_json() == []
    room.leave()
    response = unattended.post("/chat", json={"message": "Anyone?", "stream": True}, headers={"Prefer": "wait=1"})
    assert response.get_data(as_text=True).startswith(": begun")
    assert "event: accepted" in response.get_data(as_text=True)
    response.close()
    assert room.try_enter()


def test_a_refused_stream_gives_its_thread_back(unattended: FlaskClient) -> None:
    for _ in range(3):
        body = {"message": "x", "stream": True, "session_id": "no such/name"}
        assert unattended.post("/chat", json=body).status_code == 422
