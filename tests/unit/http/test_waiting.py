from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import redis.exceptions
import sqlalchemy.exc
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.errors import OverloadedError
from app.http.waiting import EXTENSION, Preference, WaitingRoom, read_preference
from app.runs.model import Event, RunStatus
from tests.unit.http.fakes import FakeApplication

DOCUMENT = {"workflow": [{"tasks": [{"agent": "echo"}]}]}


def post(web: FlaskClient, *prefer: str) -> TestResponse:
    return web.post("/workflow", json=DOCUMENT, headers=[("Prefer", wish) for wish in prefer])


def test_a_run_that_ends_in_time_is_answered_with_its_result(web: FlaskClient, application: FakeApplication) -> None:
    answer = post(web)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "completed")
    assert len(application.runs.waits) == 1


def test_a_failed_run_is_no_error_of_http(web: FlaskClient, application: FakeApplication) -> None:
    application.runs.ends_as = RunStatus.FAILED
    assert (post(web).status_code, post(web).get_json()["status"]) == (200, "failed")


def test_a_run_that_takes_longer_is_202_with_where_to_look(web: FlaskClient, application: FakeApplication) -> None:
    application.runs.ends_as = None
    answer = post(web)
    body = answer.get_json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == body["status_url"] == f"/runs/{body['task_id']}"
    assert body["events_url"] == f"/runs/{body['task_id']}/events"


def test_a_run_that_pauses_for_money_is_202_and_says_so(web: FlaskClient, application: FakeApplication) -> None:
    application.runs.ends_as = RunStatus.PAUSED_BUDGET
    assert (post(web).status_code, post(web).get_json()["status"]) == (202, "paused_budget")


@pytest.mark.parametrize(
    ("wishes", "wait_s", "applied"),
    [
        (["respond-async"], 0, "respond-async"),
        (["Respond-Async"], 0, "respond-async"),
        (["wait=0"], 0, "wait=0"),
        (["wait=5"], 5, "wait=5"),
        (["wait=100000"], 280, "wait=280"),
        (["respond-async, wait=10"], 10, "respond-async, wait=10"),
        (["respond-async", "wait=10"], 10, "respond-async, wait=10"),
        (['wait = "7"'], 7, "wait=7"),
        (["wait=-1"], 90, ""),
        (["wait=ten, return=minimal"], 90, ""),
        (["wait=99999999999999999999"], 90, ""),
        ([""], 90, ""),
        ([], 90, ""),
    ],
)
def test_prefer_is_honoured(web: FlaskClient, wishes: list[str], wait_s: float, applied: str) -> None:
    with web.application.test_request_context(headers=[("Prefer", wish) for wish in wishes]):
        assert read_preference(90) == Preference(wait_s, applied)


def test_what_was_honoured_is_said(web: FlaskClient, application: FakeApplication) -> None:
    application.runs.ends_as = None
    answer = post(web, "respond-async, wait=1")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async, wait=1")
    assert "Preference-Applied" not in post(web).headers


def test_a_wait_lasts_as_long_as_it_was_asked_for(web: FlaskClient, application: FakeApplication) -> None:
    application.runs.sleeps = True
    application.runs.ends_as = None
    began = time.monotonic()
    assert post(web, "wait=2").status_code == 202
    assert 2 <= time.monotonic() - began < 3


def test_a_process_that_stops_sends_those_who_wait_home_with_where_to_look(
    web: FlaskClient, application: FakeApplication
) -> None:
    application.runs.sleeps = True
    application.runs.ends_as = None
    room: WaitingRoom = web.application.extensions[EXTENSION]
    threading.Timer(0.2, room.close).start()
    began = time.monotonic()
    answer = post(web, "wait=60")
    assert time.monotonic() - began < 3
    assert (answer.status_code, answer.headers["Location"]) == (202, answer.get_json()["status_url"])
    assert not room.try_enter()


def test_when_half_of_the_threads_wait_the_next_one_is_told_to_come_again(
    web: FlaskClient, application: FakeApplication
) -> None:
    room: WaitingRoom = web.application.extensions[EXTENSION]
    assert [room.try_enter() for _ in range(3)] == [True, True, False]  # 4 web threads
    answer = post(web)
    assert (answer.status_code, application.runs.waits) == (202, [])
    room.leave()
    assert post(web).status_code == 200


def test_a_place_is_given_back_whatever_happens(web: FlaskClient, application: FakeApplication) -> None:
    def break_down() -> None:
        raise RuntimeError

    application.runs.before["wait_for_end"] = break_down
    assert [post(web).status_code for _ in range(5)] == [500] * 5
    del application.runs.before["wait_for_end"]
    assert post(web).status_code == 200


def test_many_threads_never_hold_more_places_than_there_are() -> None:
    room, most, held, lock = WaitingRoom(3), 0, 0, threading.Lock()

    def hold() -> None:
        nonlocal most, held
        for _ in range(200):
            with room.entered() as entered:
                if entered:
                    with lock:
                        held += 1
                        most = max(most, held)
                    with lock:
                        held -= 1

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3
    assert [room.try_enter() for _ in range(4)] == [True, True, True, False]


def test_a_database_that_goes_away_while_a_caller_waits_does_not_lose_it_the_runs_id(
    web: FlaskClient, application: FakeApplication
) -> None:
    def lose() -> None:
        raise sqlalchemy.exc.OperationalError("select", {}, Exception("gone"))

    application.runs.before["wait_for_end"] = lose
    answer = post(web)
    assert answer.status_code == 202
    assert answer.get_json()["task_id"] in application.runs.views


def test_a_database_that_is_away_is_503_with_retry_after(web: FlaskClient, application: FakeApplication) -> None:
    def lose() -> None:
        raise sqlalchemy.exc.OperationalError("select", {}, Exception("gone"))

    application.runs.before["start_run"] = lose
    answer = post(web)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "storage_away")
    assert int(answer.headers["Retry-After"]) > 0
    assert "gone" not in answer.text


def test_full_queues_are_503_with_retry_after(web: FlaskClient, application: FakeApplication) -> None:
    def refuse() -> None:
        raise OverloadedError("The queues are full.", code="queue_full", retry_after_s=10)

    application.runs.before["check_capacity"] = refuse
    answer = post(web)
    assert (answer.status_code, answer.get_json()["code"], answer.headers["Retry-After"]) == (503, "queue_full", "10")
    assert application.runs.requests == []


def test_a_run_is_taken_while_the_broker_is_away(web: FlaskClient, application: FakeApplication) -> None:
    def lose() -> None:
        raise redis.exceptions.ConnectionError("refused")

    application.runs.before["check_capacity"] = lose
    assert post(web, "respond-async").status_code == 202
    assert len(application.runs.requests) == 1


def test_waiting_on_a_run_is_202_with_the_run_until_it_ends(web: FlaskClient, application: FakeApplication) -> None:
    run_id = application.runs.add()
    application.runs.ends_as = None
    answer = web.get(f"/runs/{run_id}/wait?timeout=7")
    assert (answer.status_code, answer.get_json()["result"]) == (202, None)
    application.runs.ends_as = RunStatus.PARTIAL
    answer = web.get(f"/runs/{run_id}/wait")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "partial")
    assert answer.get_json()["result"]["task_id"] == run_id


# --- server-sent events ----------------------------------------------------------------------------------------------


def events(run_id: str, *numbers: int) -> list[Event | None]:
    return [Event(run_id, number, "2026-11-20T12:00:00Z", "step_finished", "0.0", {"n": number}) for number in numbers]


def test_events_are_streamed_with_their_numbers_and_heartbeats(web: FlaskClient, application: FakeApplication) -> None:
    run_id = application.runs.add()
    application.runs.events = [*events(run_id, 1), None, *events(run_id, 2)]
    answer = web.get(f"/runs/{run_id}/events")
    assert answer.mimetype == "text/event-stream"
    parts = answer.text.split("\n\n")
    assert [part.splitlines()[0] for part in parts[:-1]] == ["retry: 2000", "id: 1", ": still here", "id: 2"]
    assert parts[1].splitlines()[1] == "event: step_finished"


@pytest.mark.parametrize(
    ("last", "first"), [("1", "id: 2"), ("", "id: 1"), ("x", "id: 1"), ("-1", "id: 1"), ("9999999999", "id: 1")]
)
def test_a_reader_goes_on_where_it_left_off(
    web: FlaskClient, application: FakeApplication, last: str, first: str
) -> None:
    run_id = application.runs.add()
    application.runs.events = events(run_id, 1, 2, 3)
    answer = web.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": last})
    assert answer.text.split("\n\n")[1].splitlines()[0] == first


def test_a_stream_gives_its_place_back_and_too_many_are_refused(web: FlaskClient, application: FakeApplication) -> None:
    run_id = application.runs.add()
    room: WaitingRoom = web.application.extensions[EXTENSION]
    for _ in range(5):
        web.get(f"/runs/{run_id}/events").close()
    assert [room.try_enter() for _ in range(2)] == [True, True]
    answer = web.get(f"/runs/{run_id}/events")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "overloaded")
    assert answer.headers["Retry-After"]


def test_a_run_shows_its_cost_and_steps(web: FlaskClient, application: FakeApplication) -> None:
    run_id = application.runs.add()
    application.runs.views[run_id] = replace(application.runs.views[run_id], status=RunStatus.COMPLETED)
    body = web.get(f"/runs/{run_id}").get_json()
    assert body["cost"] == {"tokens": 3, "dollars": 2e-06}
    assert body["result"]["result"] == {"a": 1}
    assert set(body["steps"][0]) == {
        "key", "kind", "status", "model", "attempts", "cached", "cost", "started_at", "finished_at", "output", "error",
    }  # fmt: skip
