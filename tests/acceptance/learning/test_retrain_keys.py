"""A retrain under an `Idempotency-Key`: key and run are there together, or neither is."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from app.http import create_app
from app.idempotency.model import KeyedRequest, Outcome
from tests.engine.trial import Trial

KEY = {"Idempotency-Key": "once"}
RUNS = "select count(*) from runs where kind = 'learning_cycle'"


@pytest.fixture
def client(trial: Trial) -> FlaskClient:
    trial.make_places()
    return create_app(trial.application).test_client()


def test_a_retrain_that_is_sent_twice_under_one_key_starts_one_cycle_and_says_the_same_twice(
    trial: Trial, client: FlaskClient
) -> None:
    first, again = (client.post("/trigger_retrain", json={}, headers=KEY) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.get_json() == again.get_json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert trial.ask("select run_id::text from runs where kind = 'learning_cycle'") == [(first.get_json()["task_id"],)]


def test_the_key_of_a_retrain_is_written_in_the_transaction_of_its_run(trial: Trial, client: FlaskClient) -> None:
    run_id = client.post("/trigger_retrain", json={}, headers=KEY).get_json()["task_id"]
    cycle = "select c.xmin::text from learning_cycles c"  # no later write has touched these two rows
    assert trial.ask(cycle) == trial.ask("select xmin::text from idempotency where run_id = :run", run=run_id)


def test_a_retrain_whose_key_cannot_be_written_starts_nothing_and_can_be_sent_again(
    trial: Trial, client: FlaskClient
) -> None:
    store = trial.application.idempotency._store
    settle = store.settle_key

    def fail(connection: Connection, request: KeyedRequest, claim_id: str, outcome: Outcome) -> bool:
        store.__dict__.pop("settle_key")
        settle(connection, request, claim_id, outcome)
        raise ConnectionError

    store.__dict__["settle_key"] = fail
    assert client.post("/trigger_retrain", json={}, headers=KEY).status_code >= 500
    assert trial.ask(RUNS) == [(0,)]
    assert client.get("/status").get_json()["is_retraining"] is False
    assert client.post("/trigger_retrain", json={}, headers=KEY).status_code == 200
    assert trial.ask(RUNS) == [(1,)]


def test_a_refused_retrain_does_not_use_its_key_up(trial: Trial, client: FlaskClient) -> None:
    running = client.post("/trigger_retrain", json={}).get_json()["task_id"]
    refused = client.post("/trigger_retrain", json={}, headers=KEY)
    assert (refused.status_code, refused.get_json()["code"]) == (409, "retrain_in_progress")
    client.post(f"/runs/{running}/cancel", json={})
    answer = client.post("/trigger_retrain", json={}, headers=KEY)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "triggered")
    assert answer.get_json()["task_id"] != running


def test_of_many_retrains_at_once_under_one_key_one_starts_and_all_hear_of_it(
    trial: Trial, client: FlaskClient
) -> None:
    answers: list[tuple[int, str]] = []

    def send() -> None:
        answer = client.application.test_client().post("/trigger_retrain", json={}, headers=KEY)
        answers.append((answer.status_code, answer.get_json().get("task_id")))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(Counter(answers).values()) == [8]
    assert answers[0][0] == 200
    assert trial.ask(RUNS) == [(1,)]


def test_likes_that_queued_for_a_next_cycle_are_taken_by_the_one_that_is_asked_for(
    trial: Trial, client: FlaskClient
) -> None:
    first = client.post("/trigger_retrain", json={}).get_json()["task_id"]
    for number in range(25):
        client.post("/events/like", json={"record_id": f"rec{number}"})
    trial.application.runs.cancel_run(first, owner=None)
    asked = client.post("/trigger_retrain", json={}).get_json()["task_id"]
    cycles = trial.ask("select run_id::text, trigger, likes_taken from learning_cycles where ended_at is null")
    assert cycles == [(asked, "asked", 25)]
