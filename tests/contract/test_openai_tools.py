"""Tools, parts and marks on OpenAI's wire, against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.errors import LogicalError
from app.gateway.fakes import FakeLedger, LocalGate
from app.gateway.model import ChatAnswer, ChatRequest, ModelAnswer, ModelCall
from app.gateway.registry_file import read_registry
from app.gateway.service import Gateway
from app.providers.openai_compatible import OpenAICompatible
from app.providers.openai_messages import wire_body
from app.schema import ROOT
from simulator import Simulator

CHAT = "/openai/v1/chat/completions"
ASKED = ChatRequest(
    "openai",
    "gpt-6-luna",
    "fast_ai",
    ({"role": "user", "content": "weather?"},),
    100,
    max_tokens_field="max_completion_tokens",
    extra={"reasoning_effort": "none"},
    timeout_s=5,
)
WEATHER = {
    "name": "weather",
    "description": "The weather in a town",
    "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}


def send(simulator: Simulator, request: ChatRequest, *, streamed: bool = False) -> ChatAnswer:
    async def run() -> ChatAnswer:
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        try:
            return await provider.complete(request, (lambda _piece: None) if streamed else None)
        finally:
            await provider.close()

    return asyncio.run(run())


def ask(simulator: Simulator, ledger: FakeLedger, model: str = "fast_ai") -> ModelAnswer:
    async def run() -> ModelAnswer:
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        gateway = Gateway(read_registry(ROOT / "orchestration_config.json"), {"openai": provider}, gate=LocalGate())
        try:
            return await gateway.complete(ModelCall(model, "weather?", tools=(WEATHER,)), ledger)
        finally:
            await gateway.close()

    return asyncio.run(run())


def call(arguments: str, name: str = "weather") -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def content_of(content: Any) -> Any:
    return wire_body(replace(ASKED, messages=({"role": "user", "content": content},)))["messages"][0]["content"]


def test_tools_are_described_as_functions(simulator: Simulator) -> None:
    send(simulator, replace(ASKED, tools=(WEATHER, {"name": "time", "description": "", "input_schema": {}})))

    assert simulator.log(CHAT)[0]["body"]["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather in a town",
                "parameters": WEATHER["input_schema"],
            },
        },
        {
            "type": "function",
            "function": {"name": "time", "description": "", "parameters": {"type": "object", "properties": {}}},
        },
    ]


def test_a_conversation_with_tools_travels_in_the_wire_s_words() -> None:
    history = (
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "name": "weather", "input": {"town": "Köln"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
    )

    said, result = wire_body(replace(ASKED, messages=history))["messages"]

    assert (said["content"], said["tool_calls"][0]["type"]) == (None, "function")
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"town": "Köln"}
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "rain"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("arguments", "given"), [("", {}), ("{}", {}), ('{"town": "Paris"}', {"town": "Paris"})])
def test_arguments_are_read(simulator: Simulator, arguments: str, given: dict[str, Any], *, streamed: bool) -> None:
    simulator.answer(tool_calls=[call(arguments)])

    answer = send(simulator, replace(ASKED, tools=(WEATHER,)), streamed=streamed)

    assert (answer.tool_calls[0]["input"], answer.finish_reason) == (given, "tool_calls")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("arguments", ['{"town": ', "[1]", '"Paris"', "null"])
def test_arguments_that_are_no_object_make_the_answer_unusable_but_paid(
    simulator: Simulator, arguments: str, *, streamed: bool
) -> None:
    simulator.answer(content="Let me look.", tool_calls=[call("{}"), call(arguments)], usage={"completion_tokens": 33})

    answer = send(simulator, replace(ASKED, tools=(WEATHER,)), streamed=streamed)

    assert (answer.text, answer.tool_calls, answer.usage.output_tokens) == ("", (), 33)
    assert answer.finish_reason == "tool_calls"


def test_broken_arguments_are_asked_for_again_and_both_answers_are_paid(simulator: Simulator) -> None:
    simulator.answer(tool_calls=[call('{"town": ')], times=1)
    simulator.answer(tool_calls=[call('{"town": "Paris"}')], times=1)
    ledger = FakeLedger()

    answer = ask(simulator, ledger)

    assert answer.tool_calls[0]["input"] == {"town": "Paris"}
    assert (answer.requests, [row.status for row in ledger.rows]) == (2, ["rejected", "answered"])


def test_arguments_that_stay_broken_end_as_a_logical_error(simulator: Simulator) -> None:
    simulator.answer(tool_calls=[call('{"town": ')])

    with pytest.raises(LogicalError):
        ask(simulator, FakeLedger())

    assert simulator.count(CHAT) == 3


def test_a_call_without_a_name_is_unusable(simulator: Simulator) -> None:
    simulator.answer(tool_calls=[call("{}", name="")])

    assert send(simulator, replace(ASKED, tools=(WEATHER,))).tool_calls == ()


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        ("plain", "plain"),
        ([{"type": "text", "text": "a", "cache": "1h"}], "a"),
        ([{"type": "text", "text": "a", "cache": "1h"}, {"type": "text", "text": "b"}], "a\n\nb"),
        (
            [{"type": "text", "text": "a", "cache": "5m"}, {"type": "image", "url": "data:image/png;base64,AA=="}],
            [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}],
        ),
    ],
)
def test_marks_for_a_cache_are_left_out_and_texts_joined(content: Any, sent: Any) -> None:
    assert content_of(content) == sent


def test_what_one_vendor_hangs_on_a_call_is_not_shown_to_another() -> None:
    signed: Mapping[str, Any] = {
        "id": "c1",
        "name": "weather",
        "input": {},
        "extra": {"google_ai": {"extra_content": {"google": {"thought_signature": "abc"}}}},
    }
    message = {"role": "assistant", "content": "", "tool_calls": [signed]}

    for_google = wire_body(replace(ASKED, provider="google_ai", messages=(message,)))["messages"][0]["tool_calls"][0]
    for_openai = wire_body(replace(ASKED, messages=(message,)))["messages"][0]["tool_calls"][0]

    assert for_google["extra_content"] == {"google": {"thought_signature": "abc"}}
    assert set(for_openai) == {"id", "type", "function"}


@pytest.mark.parametrize("model", ["fast_ai", "medium_ai", "thinking_ai", "image_analysis_ai"])
def test_every_shipped_model_of_openai_may_be_given_tools(simulator: Simulator, model: str) -> None:
    simulator.answer(tool_calls=[call('{"town": "Paris"}')], finish_reason="tool_calls")

    answer = ask(simulator, FakeLedger(), model)

    assert answer.tool_calls[0]["input"] == {"town": "Paris"}
