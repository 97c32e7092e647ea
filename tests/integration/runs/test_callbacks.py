"""Deliveries of a run's end, to the simulator's receiver."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from app.runs.answers import Answers
from app.runs.model import RunView
from app.runs.outbox import CallbackDelivery, CallbackPolicy
from simulator import Simulator
from tests.engine.desk import Desk
from tests.engine.documents import inline, tool
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]
SECRET = "a shared secret"
ROUTE = "/callbacks/here"


def delivery(desk: Desk, *, hosts: tuple[str, ...] = ("127.0.0.1",), window_s: float = 3600) -> CallbackDelivery:
    answers = Answers()
    return CallbackDelivery(desk.engine, desk.store, CallbackPolicy(hosts, SECRET, window_s), answers.shape)


def ended_run(desk: Desk, url: str) -> str:
    run_id = desk.submit([inline(tool("mark", "a", output_variable_="v"))], callback_url=url)
    desk.hand().perform(run_id, "a", "done")
    return run_id


def rows(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.read("select status, tries, last_error from outbox order by created_at")


def make_due(desk: Desk) -> None:
    desk.write("update outbox set not_before = clock_timestamp()")


def test_the_end_of_a_run_is_delivered_once_signed_with_what_the_post_would_have_answered(
    desk: Desk, simulator: Simulator
) -> None:
    run_id = ended_run(desk, simulator.base_url + ROUTE)
    deliver = delivery(desk)
    assert deliver.deliver_one() is True
    assert deliver.deliver_one() is False
    [request] = simulator.log(ROUTE)
    signature = hmac.new(SECRET.encode(), request_text(request), hashlib.sha256).hexdigest()
    assert request["headers"]["x-batuta-signature"] == f"sha256={signature}"
    answer = request["body"]
    assert answer["task_id"] == run_id
    assert answer["status"] == "completed"
    assert answer["result"] == {"v": "done"}
    assert rows(desk) == [("delivered", 1, None)]


def request_text(request: dict[str, Any]) -> bytes:
    """The raw bytes of a logged request."""
    return str(request["text"]).encode()


def test_a_refused_delivery_comes_again_under_the_same_id_after_growing_pauses(
    desk: Desk, simulator: Simulator
) -> None:
    simulator.fault(ROUTE, status=503, times=3)
    ended_run(desk, simulator.base_url + ROUTE)
    deliver = delivery(desk)
    pauses = []
    for _ in range(3):
        assert deliver.deliver_one()
        assert not deliver.deliver_one()
        [[pause]] = desk.read("select round(extract(epoch from not_before - clock_timestamp())) from outbox")
        pauses.append(int(pause))
        make_due(desk)
    assert deliver.deliver_one()
    assert pauses == [2, 4, 8]
    deliveries = [request["headers"]["x-batuta-delivery"] for request in simulator.log(ROUTE)]
    assert len(deliveries) == 4
    assert len(set(deliveries)) == 1
    assert rows(desk) == [("delivered", 4, None)]


def test_a_delivery_is_given_up_after_its_window(desk: Desk, simulator: Simulator) -> None:
    simulator.fault(ROUTE, status=500, times=9)
    ended_run(desk, simulator.base_url + ROUTE)
    deliver = delivery(desk, window_s=60)
    deliver.deliver_one()
    assert rows(desk) == [("pending", 1, "HTTP 500")]
    desk.write("update outbox set created_at = created_at - interval '2 minutes'")
    make_due(desk)
    deliver.deliver_one()
    assert rows(desk) == [("failed", 2, "HTTP 500")]
    make_due(desk)
    assert not deliver.deliver_one()


def test_a_host_that_is_no_longer_allowed_is_not_called(desk: Desk, simulator: Simulator) -> None:
    ended_run(desk, simulator.base_url + ROUTE)
    delivery(desk, hosts=("other.example",)).deliver_one()
    assert simulator.log(ROUTE) == []
    [[status, _, error]] = rows(desk)
    assert status == "failed"
    assert "CALLBACK_ALLOWED_HOSTS" in error


def test_a_redirect_is_not_followed(desk: Desk, simulator: Simulator) -> None:
    simulator.fault(ROUTE, status=302, headers={"Location": f"{simulator.base_url}/callbacks/elsewhere"}, times=1)
    ended_run(desk, simulator.base_url + ROUTE)
    delivery(desk).deliver_one()
    assert simulator.log("/callbacks/elsewhere") == []
    assert rows(desk) == [("pending", 1, "HTTP 302")]


def test_a_receiver_that_is_not_there_costs_one_try(desk: Desk) -> None:
    ended_run(desk, "http://127.0.0.1:9/nobody")
    delivery(desk).deliver_one()
    assert rows(desk) == [("pending", 1, "ConnectionError")]


def test_a_delivery_under_way_is_nobody_elses(desk: Desk, simulator: Simulator) -> None:
    ended_run(desk, simulator.base_url + ROUTE)
    first, second = delivery(desk), delivery(desk)
    row = first._claim()
    assert row is not None
    assert second.deliver_one() is False
    desk.write("update outbox set not_before = not_before - interval '61 seconds'")  # its process was killed
    assert second.deliver_one() is True
    assert len(simulator.log(ROUTE)) == 1


def test_a_run_that_was_begun_again_is_called_back_at_its_next_end(desk: Desk, simulator: Simulator) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))], callback_url=simulator.base_url + ROUTE)
    hand = desk.hand()
    hand.fail(hand.must_claim(run_id, "a"))
    desk.command(run_id, "retry")
    deliver = delivery(desk)
    assert deliver.deliver_one()
    assert simulator.log(ROUTE) == []
    hand.perform(run_id, "a")
    assert deliver.deliver_one()
    assert [request["body"]["status"] for request in simulator.log(ROUTE)] == ["completed"]


def test_an_answer_that_cannot_be_written_is_given_up_and_the_next_is_delivered(
    desk: Desk, simulator: Simulator
) -> None:
    broken, _ = ended_run(desk, simulator.base_url + ROUTE), ended_run(desk, simulator.base_url + ROUTE)

    def shape(view: RunView) -> dict[str, Any]:
        if view.run_id == broken:
            raise KeyError("a fault of the kind's own")
        return {"task_id": view.run_id}

    deliver = CallbackDelivery(desk.engine, desk.store, CallbackPolicy(("127.0.0.1",), SECRET, 60), shape)
    while deliver.deliver_one():
        pass
    assert [status for status, _, _ in rows(desk)] == ["failed", "delivered"]


@pytest.mark.parametrize("command", ["cancel", "fail"])
def test_every_end_is_called_back(desk: Desk, simulator: Simulator, command: str) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))], callback_url=simulator.base_url + ROUTE)
    hand = desk.hand()
    if command == "cancel":
        desk.cancel(run_id)
    else:
        hand.fail(hand.must_claim(run_id, "a"))
    assert delivery(desk).deliver_one()
    assert len(simulator.log(ROUTE)) == 1
