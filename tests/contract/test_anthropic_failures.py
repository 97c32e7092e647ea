"""How Anthropic's messages fail over real sockets, in one piece and among events."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import pytest

from app.errors import PersistentError, TransientError
from app.gateway.model import Blame, Usage
from app.providers.anthropic_messages import AnthropicMessages
from simulator import Simulator
from simulator.anthropic_wire import error_body
from tests.contract.anthropic_asking import EVENT_STREAM, START, ask, send
from tests.contract.test_chat_providers import ANTHROPIC as WIRE


def test_a_retired_model_is_known_as_gone(simulator: Simulator) -> None:
    simulator.configure(anthropic={"today": "2026-11-29"})
    assert send(simulator, WIRE.request(model="claude-sonnet-4-5")).text

    simulator.configure(anthropic={"today": "2026-11-30"})
    error = WIRE.fail(simulator, WIRE.request(model="claude-sonnet-4-5"))

    assert (error.code, error.details["blame"]) == ("model_gone", Blame.RETIRED)


def test_a_model_about_to_retire_warns_nobody(simulator: Simulator) -> None:
    simulator.configure(anthropic={"today": "2026-11-20"})

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        send(simulator, WIRE.request(model="claude-sonnet-4-5"))

    assert [
        str(one.message) for one in caught if "retire" in str(one.message) or "deprecated" in str(one.message)
    ] == []


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        ("enforced_spend_limit_reached", PersistentError, "quota"),
        ("contract_spend_limit_reached", PersistentError, "quota"),
        ("ramp_limit_exceeded", TransientError, "rate_limited"),
    ],
)
def test_a_limit_of_money_is_not_one_of_pace(simulator: Simulator, code: str, kind: type[Exception], name: str) -> None:
    body = error_body("rate_limit_error", "no", error_code=code)
    simulator.fault(WIRE.path, status=429, body=body, retry_after=30)

    error = WIRE.fail(simulator)

    assert (type(error), error.code) == (kind, name)
    assert error.details["blame"] == (Blame.PROVIDER if name == "quota" else Blame.MODEL)


def test_a_wait_in_milliseconds_is_handed_on(simulator: Simulator) -> None:
    simulator.fault(WIRE.path, status=429, body=error_body("rate_limit_error", "slow"), retry_after_ms=250)

    assert WIRE.fail(simulator).retry_after_s == 0.25


def test_an_error_in_a_200_is_an_error(simulator: Simulator) -> None:
    simulator.fault(WIRE.path, status=200, body=error_body("overloaded_error", "Overloaded"))

    error = WIRE.fail(simulator)

    assert (type(error), error.code, error.details["sent"]) == (TransientError, "provider_unavailable", False)


@pytest.mark.parametrize(
    ("kind", "ours"),
    [("rate_limit_error", TransientError), ("billing_error", PersistentError), ("api_error", TransientError)],
)
def test_an_error_among_the_events_means_what_its_type_says(
    simulator: Simulator, kind: str, ours: type[Exception]
) -> None:
    simulator.fault(WIRE.path, stream_error={"type": kind, "message": "stop"})

    error = WIRE.fail(simulator, on_text=lambda _piece: None)

    assert (type(error), error.details["sent"]) == (ours, True)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("", "cut_short"),
        (START, "cut_short"),
        (START + "event: content_block_start\ndata: {broken\n\n", "unreadable_answer"),
        (
            START + 'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 7}\n\n',
            "unreadable_answer",
        ),
        ('event: message_stop\ndata: {"type": "message_stop"}\n\n', "cut_short"),
        ("event: message_stop\ndata: [1]\n\n", "unreadable_answer"),
    ],
)
def test_a_stream_that_makes_no_sense_was_sent_for_all_that(simulator: Simulator, written: str, code: str) -> None:
    simulator.fault(WIRE.path, status=200, body=written, headers=EVENT_STREAM)

    error = WIRE.fail(simulator, on_text=lambda _piece: None)

    assert (type(error), error.code, error.details["sent"]) == (TransientError, code, True)


def test_counts_that_the_end_leaves_empty_stand_as_the_beginning_had_them(simulator: Simulator) -> None:
    usage = {"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 4}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    events = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (end, {"type": "message_stop"})]
    simulator.fault(WIRE.path, status=200, body=START + "".join(events), headers=EVENT_STREAM)

    assert send(simulator, ask(), lambda _piece: None).usage == Usage(input_tokens=3, output_tokens=4)


@pytest.mark.parametrize(("begun", "sent"), [("", False), (START, True)], ids=["before", "within"])
def test_an_error_among_the_events_was_paid_for_once_the_answer_had_begun(
    simulator: Simulator, begun: str, *, sent: bool
) -> None:
    said = f"event: error\ndata: {json.dumps(error_body('overloaded_error', 'Overloaded'))}\n\n"
    simulator.fault(WIRE.path, status=200, body=begun + said, headers=EVENT_STREAM)

    error = WIRE.fail(simulator, on_text=lambda _piece: None)

    assert (error.code, error.details["sent"]) == ("provider_unavailable", sent)


def test_an_unknown_event_is_passed_over(simulator: Simulator) -> None:
    strange = 'event: news\ndata: {"type": "news"}\n\n'
    end = 'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    simulator.fault(WIRE.path, status=200, body=START + strange + end, headers=EVENT_STREAM)

    assert send(simulator, ask(), lambda _piece: None).usage.input_tokens == 3


@pytest.mark.parametrize("body", [{"content": "text"}, {"content": None}, {"id": "m"}])
def test_a_message_without_content_is_not_the_wire(simulator: Simulator, body: dict[str, Any]) -> None:
    simulator.fault(WIRE.path, status=200, body=body)

    error = WIRE.fail(simulator)

    assert (error.code, error.details["sent"]) == ("unreadable_answer", True)


def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    async def run() -> None:
        provider = AnthropicMessages(name="anthropic", api_key="k", base_url="http://127.0.0.1:1")
        try:
            await provider.complete(WIRE.request())
        finally:
            await provider.close()

    with pytest.raises(TransientError) as caught:
        asyncio.run(run())

    assert (caught.value.code, caught.value.details["sent"]) == ("network", False)
    assert "127.0.0.1" not in str(caught.value)
