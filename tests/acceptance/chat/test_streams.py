"""A chat's answer as it is written, read by a real client."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from urllib.parse import urlsplit

import pytest

from tests.acceptance.chat.conftest import CALLS, TOKENS, Chatting

LONG = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
def telling(chatting: Chatting) -> Chatting:
    chatting.says("M")
    chatting.simulator.answer(content=LONG, contains="Tell me")
    return chatting


def test_pieces_come_before_the_whole_and_are_the_whole_together(telling: Chatting) -> None:
    events = telling.stream("Tell me")
    names = [name for name, _ in events]
    assert names[-1] == "done"
    assert set(names[:-1]) == {"token"}
    assert "".join(data["text"] for name, data in events if name == "token") == LONG
    done = events[-1][1]
    assert done["response"] == LONG
    assert done["category"] == "M"
    assert done["cost"]["dollars"] > 0


def test_the_accept_header_asks_for_a_stream_too(telling: Chatting) -> None:
    events = telling.stream("Tell me", headers={"Accept": "text/event-stream"}, stream=False)
    assert [name for name, _ in events][-1] == "done"


def test_pieces_arrive_while_the_model_still_writes(telling: Chatting) -> None:
    telling.simulator.fault(CALLS, match={"stream": True}, stream_delay_s=1.5)
    began = time.monotonic()
    times: dict[bytes, float] = {}
    headers = {"Authorization": f"Bearer {TOKENS['ann']}", "Content-Type": "application/json"}
    address = urlsplit(telling.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.request("POST", "/chat", json.dumps({"message": "Tell me", "stream": True}), headers)
    response = connection.getresponse()
    for line in iter(response.readline, b""):
        if line.startswith(b"event: "):
            times.setdefault(line.split()[1], time.monotonic() - began)
    connection.close()
    assert times[b"token"] < 1.0
    assert times[b"done"] > 1.5


def test_a_stream_that_breaks_at_the_vendor_says_restart_and_ends_whole(telling: Chatting) -> None:
    telling.simulator.fault(CALLS, match={"stream": True}, drop="during", times=1)
    events = telling.stream("Tell me")
    names = [name for name, _ in events]
    assert names[-1] == "done"
    assert "restart" in names
    kept = events[names.index("restart") + 1 : -1]
    assert "".join(data["text"] for _, data in kept) == LONG == events[-1][1]["response"]


def test_a_failure_is_an_event_with_the_problem(telling: Chatting) -> None:
    telling.simulator.fault(CALLS, status=400, body={"error": {"message": "no"}}, times=None)
    [(name, problem)] = telling.stream("Tell me")
    assert name == "error"
    assert problem["status"] == 502
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    telling.trial.application.redis.flushdb()


def test_a_reader_that_leaves_does_not_stop_the_chat(telling: Chatting) -> None:
    telling.simulator.fault(CALLS, match={"stream": True}, stream_delay_s=1.0)
    name = f"left-{uuid.uuid4()}"
    given = {"message": "Tell me", "stream": True, "session_id": name}
    response = telling.ask("POST", "/chat", json=given, stream=True)
    run_id = response.headers["X-Task-Id"]
    response.close()
    assert telling.result(run_id)["status"] == "completed"
    assert telling.lines(name)[1] == ("assistant", LONG)


def test_a_stream_asked_for_again_under_its_key_gives_the_whole_at_once(telling: Chatting) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = telling.stream("Tell me", headers=key)
    [(name, done)] = telling.stream("Tell me", headers=key)
    assert name == "done"
    assert done == first[-1][1]
    assert telling.simulator.count(CALLS) == 2


def test_what_is_refused_is_refused_before_a_stream_begins(chatting: Chatting) -> None:
    response = chatting.ask("POST", "/chat", json={"message": "", "stream": True})
    assert response.status_code == 422


def test_a_stream_that_pauses_for_money_says_where_to_look(chatting: Chatting) -> None:
    [(name, accepted)] = chatting.stream("Tell me", max_cost_usd=0)
    assert name == "accepted"
    assert accepted["status"] == "paused_budget"
    assert accepted["status_url"].startswith("/runs/")


def test_an_acknowledgement_is_streamed_and_the_work_goes_on(chatting: Chatting) -> None:
    chatting.says("H")
    events = chatting.stream("Plan and make a campaign")
    assert events[-1][0] == "done"
    assert events[-1][1]["category"] == "H"
    assert events[-1][1]["status_url"]
    chatting.result(events[-1][1]["task_id"])
