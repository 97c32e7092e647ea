"""Cancel, pause, approve, retry and follow, while real workers are at it."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConflictError, NotFoundError
from app.runs.model import Event, RunStatus
from app.runs.streams import stream_key
from tests.engine.documents import graph, inline, linear, tool
from tests.engine.saying import say
from tests.engine.trial import LEASE_S, Trial

SLACK_S = 10.0  # what a loaded machine may add; what is broken takes for ever


@pytest.mark.parametrize("which", ["nap", "work"])
def test_running_steps_are_stopped_by_a_cancel_whether_they_wait_or_block(crew: Trial, which: str) -> None:
    run_id = crew.start([linear(*(tool(which, f"s{n}", seconds=60) for n in range(5))), inline(tool("mark", "after"))])
    crew.await_that(
        lambda: crew.ask("select 1 from steps where run_id = :r and status = 'running'", r=run_id) == [(1,)] * 5
    )
    started = time.monotonic()
    crew.runs.cancel_run(run_id, owner="tester")
    view = crew.finish(run_id)
    taken = time.monotonic() - started
    say(f"five running steps ({which}) stopped {taken:.2f} s after the cancel; lease {LEASE_S} s")
    assert view.status is RunStatus.CANCELLED
    assert {step.status for step in view.steps} == {"cancelled"}
    assert taken < LEASE_S / 3 + 1 + SLACK_S
    with pytest.raises(ConflictError):
        crew.runs.cancel_run(run_id, owner="tester")


def test_a_paused_run_finishes_what_runs_and_starts_nothing_until_it_is_resumed(crew: Trial, tmp_path: Path) -> None:
    run_id = crew.start([inline(tool("gate", "g", path=str(tmp_path / "open")), tool("mark", "a"), tool("mark", "b"))])
    crew.await_step(run_id, "g", "running")
    assert crew.runs.pause_run(run_id, owner="tester").status is RunStatus.PAUSED
    (tmp_path / "open").touch()
    crew.await_step(run_id, "g", "completed")
    time.sleep(0.5)
    assert crew.effects(run_id) == []
    crew.runs.resume_run(run_id, owner="tester")
    assert crew.finish(run_id).status is RunStatus.COMPLETED
    assert [key for key, _, _ in crew.effects(run_id)] == ["a", "b"]


def test_an_approval_holds_no_worker_and_goes_on_with_the_persons_value(crew: Trial) -> None:
    run_id = crew.start(
        [
            inline(
                tool("mark", "draft", value="a draft", output_variable_="draft"),
                {"id": "ask", "approval": "Send {draft}?", "output_variable": "said"},
                tool("mark", "send", value="{said}"),
            )
        ]
    )
    crew.await_status(run_id, "waiting")
    assert crew.ask("select owner, placed, rendered from steps where run_id = :r and key = 'ask'", r=run_id) == [
        (None, False, "Send a draft?")
    ]
    assert crew.ask("select 1 from admission where run_id = :r", r=run_id) == []
    with pytest.raises(NotFoundError):
        crew.runs.approve_step(run_id, "nothing", True, owner="tester")
    crew.runs.approve_step(run_id, "ask", True, {"text": "better"}, owner="tester")
    assert crew.finish(run_id).steps[2].output == {"text": "better"}
    with pytest.raises(ConflictError):
        crew.runs.approve_step(run_id, "ask", True, owner="tester")


def test_a_retry_calls_only_what_failed(crew: Trial) -> None:
    blocks = [
        linear(
            tool("mark", "a", output_variable_="va"),
            tool("flaky", "b", works_at=2, error="fatal", output_variable_="vb"),
        ),
        inline(tool("mark", "c", value="{va}-{vb}")),
    ]
    view = crew.run(blocks)
    assert [step.status for step in view.steps] == ["completed", "failed", "skipped"]
    assert view.status is RunStatus.PARTIAL
    crew.runs.retry_run(view.run_id, owner="tester")
    view = crew.finish(view.run_id)
    assert view.status is RunStatus.COMPLETED
    assert view.steps[2].output == "a-2"
    assert [key for key, _, _ in crew.effects(view.run_id)].count("a") == 1


def test_others_runs_cannot_be_read_or_steered(crew: Trial) -> None:
    view = crew.run([inline(tool("mark", "a"))])
    for act in (crew.runs.get_run, crew.runs.cancel_run, crew.runs.retry_run):
        with pytest.raises(NotFoundError):
            act(view.run_id, owner="somebody else")


def test_followers_are_told_every_event_in_order_without_a_gap(crew: Trial) -> None:
    run_id = crew.start(
        [linear(*(tool("nap", f"n{n}", seconds=0.05 * n) for n in range(10))), inline(tool("mark", "z"))]
    )
    told: list[list[Event]] = [[], [], []]

    def follow(number: int) -> None:
        told[number].extend(event for event in crew.runs.follow(run_id, number) if event is not None)

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    crew.finish(run_id)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    stored = crew.application.store.read_events(run_id, 0, 1000)
    for number, events in enumerate(told):
        assert [event.seq for event in events] == [event.seq for event in stored if event.seq > number]
    assert told[0][-1].type == "run_completed"
    assert all(second.seq == first.seq + 1 for first, second in pairwise(told[0]))


def test_a_wait_ends_with_the_run_and_not_with_its_time(crew: Trial) -> None:
    run_id = crew.start([inline(tool("nap", "n", seconds=0.5))])
    started = time.monotonic()
    view = crew.runs.wait_for_end(run_id, 30)
    assert view is not None
    assert view.status is RunStatus.COMPLETED
    assert time.monotonic() - started < 15
    assert crew.runs.wait_for_end(crew.start([inline(tool("nap", "n", seconds=2))]), 0.2) is None


def test_the_story_of_a_run_stands_in_its_stream_in_redis(crew: Trial) -> None:
    view = crew.run([graph(tool("mark", "a"), tool("boom", "b", depends_on_=["a"]))])
    stored = crew.application.store.read_events(view.run_id, 0, 100)

    def copied() -> list[dict[str, str]]:
        rows: Any = crew.application.redis.xrange(stream_key(view.run_id), "-", "+")
        return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]

    crew.await_that(lambda: len(copied()) == len(stored))
    rows = sorted(copied(), key=lambda row: int(row["seq"]))
    assert [(int(row["seq"]), row["type"], row.get("step")) for row in rows] == [
        (event.seq, event.type, event.step_key) for event in stored
    ]
    assert 0 < int(crew.application.redis.ttl(stream_key(view.run_id))) <= 86_400


def test_flower_sees_every_task_under_a_name_that_says_what_it_is(crew: Trial) -> None:
    application = crew.application.celery
    seen: list[dict[str, Any]] = []
    with application.connection_for_read() as connection:
        receiver = application.events.Receiver(connection, handlers={"task-received": seen.append})
        gather = threading.Thread(target=_capture, args=(receiver,))
        gather.start()
        try:
            application.control.enable_events()
            crew.await_that(lambda: _shows(seen, crew.run([inline(tool("mark", "a"))]).run_id), 30)
        finally:
            receiver.should_stop = True
            gather.join(10)
            application.control.disable_events()
    event = next(event for event in seen if "'step': 'a'" in str(event["kwargs"]))
    assert event["name"] == "tool:mark"


def _capture(receiver: Any) -> None:
    receiver.capture(limit=None, timeout=None, wakeup=False)


def _shows(seen: list[dict[str, Any]], run_id: str) -> bool:
    time.sleep(0.3)
    return any(run_id in str(event["kwargs"]) for event in seen)
