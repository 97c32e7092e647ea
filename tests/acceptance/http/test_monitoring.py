"""What monitors read: `/stats` and `/metrics`."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from app.runs.tables import calls
from tests.acceptance.http.conftest import Door

FIELDS = {
    "savings",
    "active_sessions",
    "total_messages",
    "uptime_seconds",
    "timestamp",
    "requests",
    "models",
    "queues",
    "circuits",
    "runs",
    "costs",
}


def answered_call(door: Door) -> None:
    sent_at = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=2)
    row = {
        "run_id": str(uuid.uuid4()),
        "step_key": "0.0",
        "ordinal": 1,
        "owner": "somebody",
        "kind": "chat",
        "provider": "openai",
        "model": "fast_ai",
        "status": "answered",
        "request": {"secret": "what was asked"},
        "estimate_usd": Decimal("0.01"),
        "cost_usd": Decimal("0.25"),
        "input_tokens": 100,
        "output_tokens": 20,
        "cache_read_tokens": 300,
        "sent_at": sent_at,
        "answered_at": sent_at + dt.timedelta(seconds=1.5),
    }
    with door.application.engine.begin() as connection:
        connection.execute(sa.insert(calls).values(**row))


@pytest.fixture
def one_call(door: Door) -> None:
    with door.application.engine.begin() as connection:
        connection.execute(sa.delete(calls))
    answered_call(door)


def read_metrics(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_stats_on_a_system_without_calls_has_every_field(door: Door) -> None:
    with door.application.engine.begin() as connection:
        connection.execute(sa.delete(calls))
    answer = door.client.get("/stats")
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == FIELDS
    assert body["models"] == {}
    assert body["costs"] == {"today": 0, "last_7_days": 0, "average_per_video": None}
    assert body["queues"]["linear.medium"] >= 0


@pytest.mark.usefixtures("one_call")
def test_stats_say_how_a_model_did(door: Door) -> None:
    model = door.client.get("/stats").get_json()["models"]["fast_ai"]
    assert (model["calls"], model["errors"], model["tokens"], model["dollars"]) == (1, 0, 420, 0.25)
    assert (model["p50_s"], model["cache_hit_rate"]) == (1.5, 0.75)


def test_stats_count_requests_by_status(door: Door) -> None:
    before = door.client.get("/stats").get_json()["requests"]["by_status"].get("404", 0)
    door.client.get("/runs/none")
    after = door.client.get("/stats").get_json()["requests"]
    assert after["by_status"]["404"] == before + 1
    assert after["per_minute"] >= 2


@pytest.mark.usefixtures("one_call")
def test_metrics_read_the_ledger_and_can_be_parsed(door: Door) -> None:
    answer = door.client.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=")
    metrics = read_metrics(answer.get_data(as_text=True))
    of = (("model", "fast_ai"), ("provider", "openai"))
    asked = (("model", "fast_ai"), ("operation", "chat"), ("provider", "openai"), ("status", "answered"))
    assert metrics["llm_requests_total", asked] == 1
    assert metrics["llm_tokens_total", (*of, ("type", "cache_read"))] == 300
    assert metrics["llm_cost_usd_total", (*of, ("stage", "chat"))] == 0.25
    assert metrics["llm_request_duration_seconds_bucket", (("le", "1.0"), *of)] == 0
    assert metrics["llm_request_duration_seconds_bucket", (("le", "2.0"), *of)] == 1
    assert metrics["llm_request_duration_seconds_count", of] == 1
    assert metrics["batuta_up", (("source", "database"),)] == 1
    assert metrics["batuta_queue_depth", (("queue", "linear.medium"),)] >= 0


@pytest.mark.usefixtures("one_call")
def test_metrics_hold_no_ids_no_owners_and_nothing_that_was_asked(door: Door) -> None:
    run_id = str(uuid.uuid4())
    door.client.get(f"/runs/{run_id}")
    door.client.open("/stats", method="A-WORD-OF-THEIRS")
    text = door.client.get("/metrics").get_data(as_text=True)
    assert 'route="/runs/<run_id>"' in text
    for secret in (run_id, "somebody", "what was asked", "A-WORD-OF-THEIRS"):
        assert secret not in text


def test_a_monitor_on_this_machine_needs_no_token(door: Door) -> None:
    assert door.stranger.get("/metrics").status_code == 200
    assert door.stranger.get("/stats").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "192.0.2.1"},
        {"Forwarded": "for=192.0.2.1"},
        {"Via": "1.1 proxy"},
    ],
)
def test_who_comes_through_a_proxy_on_this_machine_needs_a_token(door: Door, headers: dict[str, str]) -> None:
    assert door.stranger.get("/metrics", headers=headers).status_code == 401


def test_who_calls_from_elsewhere_needs_a_token(door: Door) -> None:
    assert door.stranger.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 401
    assert door.client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200


def test_a_page_that_calls_from_this_machine_is_refused(door: Door) -> None:
    assert door.stranger.get("/metrics", headers={"Host": "evil.example"}).status_code == 403
    assert door.stranger.get("/metrics", headers={"Origin": "https://evil.example"}).status_code == 403
