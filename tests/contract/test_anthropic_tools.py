"""Tools on Anthropic's wire, and the thoughts that go with their calls."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from app.gateway.model import ChatRequest
from simulator import Simulator
from tests.contract.anthropic_asking import EVENT_STREAM, HAIKU, ask, send, system
from tests.contract.test_chat_providers import ANTHROPIC as WIRE
from tests.contract.test_chat_providers import ASKED_FOR_PARIS, WEATHER, both_ways, listener


@both_ways
def test_a_call_that_was_cut_off_is_not_made(simulator: Simulator, *, streamed: bool) -> None:
    whole = {**ASKED_FOR_PARIS, "id": "call_0"}
    simulator.answer(tool_calls=[whole, ASKED_FOR_PARIS], finish_reason="max_tokens")

    answer = send(simulator, replace(ask(), tools=(WEATHER,)), listener(streamed=streamed))

    assert [call["id"] for call in answer.tool_calls] == ["call_0"]
    assert answer.finish_reason == "length"


@both_ways
def test_a_call_without_input_has_an_empty_one(simulator: Simulator, *, streamed: bool) -> None:
    simulator.answer(tool_calls=[{"id": "t", "name": "weather", "input": {}}])

    answer = send(simulator, replace(ask(), tools=(WEATHER,)), listener(streamed=streamed))

    assert [call["input"] for call in answer.tool_calls] == [{}]


def test_results_of_tools_come_back_in_one_turn(simulator: Simulator) -> None:
    calls = [{**ASKED_FOR_PARIS, "id": name} for name in ("functions.weather:0", "b")]
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "functions.weather:0", "content": "rain"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "sun", "cache": "5m"}]},
    ]

    send(simulator, replace(ask(*history), tools=(WEATHER,)))

    turns = WIRE.bodies(simulator)[0]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[1]["content"]] == ["text", "tool_use", "tool_use"]
    # An id from another vendor's model is written as this wire takes it, on both sides.
    assert turns[1]["content"][1]["id"] == "functions_weather_0"
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "functions_weather_0", "content": "rain"},
        {
            "type": "tool_result",
            "tool_use_id": "b",
            "content": [{"type": "text", "text": "sun"}],
            "cache_control": {"type": "ephemeral", "ttl": "5m"},
        },
        {"type": "text", "text": "hello"},
    ]


def goes_on(simulator: Simulator, *, streamed: bool = False) -> ChatRequest:
    """Let a model think and ask for a tool; give the conversation with the tool's result."""
    simulator.answer(content="I look.", thinking="Paris it is", tool_calls=[ASKED_FOR_PARIS], times=1)
    asked = replace(ask(system(("Be brief.", None))), tools=(WEATHER,))
    answer = send(simulator, asked, listener(streamed=streamed))
    called = {"role": "assistant", "content": answer.text, "tool_calls": list(answer.tool_calls)}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    stored = ChatRequest.from_json(json.loads(json.dumps(replace(asked, messages=(called, result)).to_json())))
    return replace(asked, messages=(*asked.messages, *stored.messages))


def thoughts(simulator: Simulator) -> list[str]:
    """Give what of the model's thinking went back to it last."""
    turns = WIRE.bodies(simulator)[-1]["messages"]
    blocks = [block for turn in turns if isinstance(turn["content"], list) for block in turn["content"]]
    return [block["thinking"] for block in blocks if block["type"] == "thinking"]


@both_ways
def test_a_thought_goes_back_with_what_the_tool_said(simulator: Simulator, *, streamed: bool) -> None:
    request = goes_on(simulator, streamed=streamed)

    # The simulated vendor takes it only unchanged and behind the same conversation.
    assert send(simulator, request).text
    assert thoughts(simulator) == ["Paris it is"]
    assert [block["type"] for block in WIRE.bodies(simulator)[-1]["messages"][1]["content"]] == [
        "thinking",
        "text",
        "tool_use",
    ]


def test_a_thought_stays_with_its_turn_as_the_conversation_goes_on(simulator: Simulator) -> None:
    request = goes_on(simulator)
    later = ({"role": "assistant", "content": "It rains."}, {"role": "user", "content": "and now?"})

    assert send(simulator, replace(request, messages=(*request.messages, *later))).text
    assert thoughts(simulator) == ["Paris it is"]


@pytest.mark.parametrize("changed", ["system", "question", "tools", "calls"])
def test_a_thought_is_left_out_when_anything_before_it_has_changed(simulator: Simulator, changed: str) -> None:
    request = goes_on(simulator)
    prompt, question, called, result = request.messages
    if changed == "system":
        prompt = {"role": "system", "content": "Be kind."}
    elif changed == "question":
        question = {"role": "user", "content": "In short: the weather?"}
    elif changed == "tools":
        request = replace(request, tools=({**WEATHER, "description": "another"},))
    else:
        called = {**called, "tool_calls": [{**called["tool_calls"][0], "id": "call_9"}]}
        result = {**result, "tool_call_id": "call_9"}

    assert send(simulator, replace(request, messages=(prompt, question, called, result))).text
    assert thoughts(simulator) == []


def test_moving_a_mark_for_the_cache_does_not_lose_a_thought(simulator: Simulator) -> None:
    request = goes_on(simulator)
    marked = (system(("Be brief.", "1h")), *request.messages[1:])

    assert send(simulator, replace(request, messages=marked)).text
    assert thoughts(simulator) == ["Paris it is"]


def test_what_is_nested_without_end_is_never_sent(simulator: Simulator) -> None:
    request = goes_on(simulator)
    deep: Any = "end"
    for _ in range(900):
        deep = {"a": deep}
    nested = {"name": "nested", "input_schema": {"type": "object", "default": deep}}

    error = WIRE.fail(simulator, replace(request, tools=(WEATHER, nested)))

    assert (error.code, error.details["sent"]) == ("unsendable", False)


def test_another_model_s_thought_may_stay_where_it_is(simulator: Simulator) -> None:
    request = goes_on(simulator)

    assert send(simulator, replace(request, model=HAIKU)).text


def half_a_call(stop_reason: str) -> str:
    """Write a stream whose last block is a call with half its input."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {**ASKED_FOR_PARIS, "type": "tool_use"}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '{"town": "Pa'},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def test_a_call_whose_input_broke_off_is_not_made(simulator: Simulator) -> None:
    simulator.fault(WIRE.path, status=200, body=half_a_call("max_tokens"), headers=EVENT_STREAM)

    answer = send(simulator, ask(), lambda _piece: None)

    assert (answer.tool_calls, answer.finish_reason, answer.usage.output_tokens) == ((), "length", 9)


def test_a_call_whose_input_makes_no_sense_is_paid_for_and_unusable(simulator: Simulator) -> None:
    simulator.fault(WIRE.path, status=200, body=half_a_call("tool_use"), headers=EVENT_STREAM)

    answer = send(simulator, ask(), lambda _piece: None)

    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("", (), "tool_calls")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 9)
