"""What the door says while a server it stands on is away, and that it serves again by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from app.bootstrap import build
from app.http import create_app
from tests.acceptance.http.conftest import ADMIN, CLIENT, Door, close_listener
from tests.conftest import Servers

FAST_S = 3.0
AT_ONCE = {"Prefer": "respond-async"}


@pytest.fixture
def own_door(own_servers: Servers, tmp_path: Path) -> Iterator[tuple[Door, Servers]]:
    settings = own_servers.settings(
        DATA_DIR=str(tmp_path), API_TOKENS=f"caller:client:{CLIENT},boss:admin:{ADMIN}", WEB_THREADS="4"
    )
    application = build(settings)
    yield Door(application, create_app(application)), own_servers
    close_listener(application)
    application.engine.dispose()
    application.redis.close()


def timed_health(door: Door) -> TestResponse:
    began = time.monotonic()
    answer = door.stranger.get("/health")
    assert time.monotonic() - began < FAST_S
    return answer


def test_while_the_database_is_away_everything_is_503_and_afterwards_all_is_well(
    own_door: tuple[Door, Servers],
) -> None:
    door, servers = own_door
    assert timed_health(door).status_code == 200
    servers.postgres.stop()
    for method, path in (
        ("GET", "/runs"), ("POST", "/events/daily_batch"), ("POST", "/events/like"), ("GET", "/status"),
        ("GET", "/tokens"), ("POST", "/structures"), ("POST", "/tokens"),
    ):  # fmt: skip
        body = {"record_id": "x", "name": "x", "scope": "client", "structures": [{"structure_id": 1, "skeleton": "x"}]}
        kept = body if path.startswith("/events") else {name: body[name] for name in ("name", "scope")}
        sent = {"structures": body["structures"]} if path == "/structures" else kept
        answer = door.admin.open(path, method=method, json=sent, headers=AT_ONCE)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "storage_away"), (path, answer.text)
        assert int(answer.headers["Retry-After"]) > 0
        assert "127.0.0.1" not in answer.text
    health = timed_health(door)
    assert (health.status_code, health.get_json()["checks"]["database"]) == (503, "away")
    assert door.stranger.get("/").status_code == 200
    servers.postgres.start()
    assert door.client.get("/runs").status_code == 200
    assert timed_health(door).status_code == 200


def test_while_the_broker_is_away_work_is_taken_and_kept(own_door: tuple[Door, Servers]) -> None:
    door, servers = own_door
    servers.redis.stop()
    health = timed_health(door)
    assert (health.status_code, health.get_json()["checks"]["broker"]) == (503, "away")
    assert door.client.post("/events/like", json={"record_id": "x"}).status_code == 200
    began = time.monotonic()
    answer = door.client.post("/events/manual_generate", json={"num_prompts": 1}, headers=AT_ONCE)
    keyed = {"Idempotency-Key": "k", **AT_ONCE}
    assert (answer.status_code, time.monotonic() - began < 10) == (202, True), answer.text
    assert door.client.post("/events/manual_generate", json={}, headers=keyed).status_code == 202
    assert len(door.client.get("/runs").get_json()) == 2
    servers.redis.start()
    assert timed_health(door).status_code == 200
