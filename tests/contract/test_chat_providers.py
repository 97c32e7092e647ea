"""What every vendor of chats must do behind the port, whatever its wire: one suite over all of them.

A vendor takes part by a `Wire` in `WIRES`: how it is made, and how the simulator is told to speak on its wire.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from app.errors import FatalError, PersistentError, ResourceError, StepError, TransientError
from app.gateway.model import Blame, ChatAnswer, ChatRequest
from app.gateway.ports import ChatProvider, OnText
from app.providers.anthropic_messages import AnthropicMessages
from app.providers.google_chat import google_chat
from app.providers.openai_compatible import OpenAICompatible
from app.providers.openrouter import openrouter
from simulator import Simulator
from simulator.anthropic_wire import error_body

PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
WEATHER = {
    "name": "weather",
    "description": "The weather in a town",
    "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}
ASKED_FOR_PARIS = {"id": "call_1", "name": "weather", "input": {"town": "Paris"}}


@dataclass(frozen=True)
class Wire:
    """One vendor, and what the simulator needs to be told to play it.

    Args:
        name: in the registry.
        model: an id that the simulated vendor knows.
        path: where its chats go, below the simulator.
        make: makes the provider, with a key and, if not the simulator's, another address.
        tool_call: writes a call as the wire's models do.
        endings: the wire's words for our reasons to finish.
        faults: by what happened: a fault that tells it in the wire's words.
        stream_error: the error object of an overloaded vendor in the middle of a stream.
        asks: what its requests have besides.
    """

    name: str
    model: str
    path: str
    make: Callable[[Simulator, str], ChatProvider]
    tool_call: Callable[[Mapping[str, Any]], dict[str, Any]]
    endings: Mapping[str, str]
    faults: Mapping[str, dict[str, Any]]
    stream_error: dict[str, Any]
    asks: Mapping[str, Any] = field(default_factory=dict)

    def request(self, **more: Any) -> ChatRequest:
        """Ask something small."""
        asked = ChatRequest(
            self.name, self.model, "fast_ai", ({"role": "user", "content": "hello"},), 2000, timeout_s=5
        )
        return replace(asked, **{**self.asks, **more})

    def send(
        self, simulator: Simulator, request: ChatRequest | None = None, on_text: OnText | None = None, key: str = "k"
    ) -> ChatAnswer:
        """Ask through the real SDK, on a loop of its own."""

        async def run() -> ChatAnswer:
            provider = self.make(simulator, key)
            try:
                return await provider.complete(request or self.request(), on_text)
            finally:
                await provider.close()

        return asyncio.run(run())

    def fail(self, simulator: Simulator, request: ChatRequest | None = None, **more: Any) -> StepError:
        """Ask, and give what was raised."""
        with pytest.raises(StepError) as caught:
            self.send(simulator, request, **more)
        return caught.value

    def bodies(self, simulator: Simulator) -> list[dict[str, Any]]:
        """Give what the vendor was asked, oldest first."""
        return [entry["body"] for entry in simulator.log(self.path) if entry["path"] == self.path]


ANTHROPIC = Wire(
    name="anthropic",
    model="claude-haiku-5-5",
    path="/anthropic/v1/messages",
    make=lambda simulator, key: AnthropicMessages(name="anthropic", api_key=key, base_url=simulator.anthropic_url),
    tool_call=dict,
    endings={"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"},
    faults={
        "key refused": {"status": 401, "body": error_body("authentication_error", "invalid x-api-key")},
        "no money": {"status": 402, "body": error_body("billing_error", "pay first")},
        "model gone": {"status": 404, "body": error_body("not_found_error", "model: claude-haiku-5-5")},
        "too many": {"status": 429, "body": error_body("rate_limit_error", "slow down"), "retry_after": 7},
        "overloaded": {"status": 529, "body": error_body("overloaded_error", "Overloaded")},
        "broken": {"status": 500, "body": error_body("api_error", "Internal server error")},
        "not understood": {"status": 400, "body": error_body("invalid_request_error", "messages: no")},
        "too large": {"status": 413, "body": error_body("request_too_large", "Request exceeds the maximum size")},
    },
    stream_error={"type": "overloaded_error", "message": "Overloaded"},
)


def plain_call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {**call}


OPENAI_ENDINGS = {name: name for name in ("stop", "length", "tool_calls", "content_filter")}


def openai_error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


OPENAI_FAULTS = {
    "key refused": {"status": 401, "body": openai_error("Incorrect API key provided", "invalid_api_key")},
    "no money": {"status": 429, "body": openai_error("pay first", "insufficient_quota", "insufficient_quota")},
    "model gone": {"status": 404, "body": openai_error("The model `gpt-6-luna` does not exist", "model_not_found")},
    "too many": {"status": 429, "body": openai_error("slow", "rate_limit_exceeded", "requests"), "retry_after": 7},
    "overloaded": {"status": 503, "body": openai_error("overloaded", kind="server_error")},
    "broken": {"status": 500, "body": openai_error("The server had an error", kind="server_error")},
    "not understood": {"status": 400, "body": openai_error("Unknown parameter: 'x'.", "unknown_parameter")},
    "too large": {"status": 413, "body": "<html>413</html>"},
}
OPENAI = Wire(
    name="openai",
    model="gpt-6-luna",
    path="/openai/v1/chat/completions",
    make=lambda simulator, key: OpenAICompatible(name="openai", api_key=key, base_url=simulator.openai_url),
    tool_call=plain_call,
    endings=OPENAI_ENDINGS,
    faults=OPENAI_FAULTS,
    stream_error={"message": "The server had an error", "type": "server_error", "code": None},
    asks={"max_tokens_field": "max_completion_tokens", "extra": {"reasoning_effort": "none"}},
)


def openrouter_error(status: int, message: str, **metadata: Any) -> dict[str, Any]:
    return {"status": status, "body": {"error": {"code": status, "message": message, "metadata": metadata}}}


OPENROUTER = Wire(
    name="openrouter",
    model="meta-llama/llama-3.1-8b-instruct",
    path="/openrouter/api/v1/chat/completions",
    make=lambda simulator, key: openrouter(api_key=key, base_url=simulator.openrouter_url),
    tool_call=plain_call,
    endings=OPENAI_ENDINGS,
    faults={
        "key refused": openrouter_error(401, "No auth credentials found"),
        "no money": openrouter_error(402, "Insufficient credits", limit_source="openrouter_credits"),
        "model gone": openrouter_error(404, "No endpoints found for meta-llama/llama-3.1-8b-instruct."),
        "too many": {**openrouter_error(429, "Rate limited"), "retry_after": 7},
        "overloaded": openrouter_error(503, "No provider fits"),
        "broken": openrouter_error(502, "Provider returned error", provider_name="one", raw="out of memory"),
        "not understood": openrouter_error(400, "messages is required"),
        "too large": openrouter_error(413, "Request too large"),
    },
    stream_error={"code": 502, "message": "Provider disconnected"},
)


def google_error(code: int, message: str, status: str, *details: dict[str, Any]) -> dict[str, Any]:
    body = [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]
    return {"status": code, "body": body}


GOOGLE = Wire(
    name="google_ai",
    model="gemini-3.8-flash",
    path="/google/v1beta/openai/chat/completions",
    make=lambda simulator, key: google_chat(api_key=key, base_url=f"{simulator.google_url}/v1beta/openai/"),
    tool_call=plain_call,
    endings=OPENAI_ENDINGS,
    faults={
        "key refused": google_error(400, "API key not valid.", "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}),
        "no money": google_error(402, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED"),
        "model gone": google_error(404, "models/gemini-3.8-flash is not found for API version v1main", "NOT_FOUND"),
        "too many": google_error(429, "Resource exhausted.", "RESOURCE_EXHAUSTED", {"retryDelay": "7s"}),
        "overloaded": google_error(503, "The model is overloaded.", "UNAVAILABLE"),
        "broken": google_error(500, "Internal error encountered.", "INTERNAL"),
        "not understood": google_error(400, 'Unknown name "x": Cannot find field.', "INVALID_ARGUMENT"),
        "too large": google_error(413, "Request payload size exceeds the limit", "INVALID_ARGUMENT"),
    },
    stream_error={"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"},
)
WIRES = [ANTHROPIC, OPENAI, OPENROUTER, GOOGLE]
MEANINGS: dict[str, tuple[type[StepError], str, Blame]] = {
    "key refused": (PersistentError, "auth", Blame.PROVIDER),
    "no money": (PersistentError, "quota", Blame.PROVIDER),
    "model gone": (PersistentError, "model_gone", Blame.RETIRED),
    "too many": (TransientError, "rate_limited", Blame.MODEL),
    "overloaded": (TransientError, "provider_unavailable", Blame.MODEL),
    "broken": (TransientError, "provider_unavailable", Blame.MODEL),
    "not understood": (PersistentError, "", Blame.NONE),
    "too large": (PersistentError, "", Blame.NONE),
}

every_wire = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


def listener(*, streamed: bool) -> OnText | None:
    return (lambda _piece: None) if streamed else None


@every_wire
def test_an_answer_comes_with_its_usage(wire: Wire, simulator: Simulator) -> None:
    answer = wire.send(simulator)

    assert answer.text == "Simulated answer to: hello"
    assert (answer.finish_reason, answer.model) == ("stop", wire.model)
    assert answer.vendor_id
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.output_tokens > 0
    assert not answer.usage.estimated


@every_wire
def test_in_pieces_the_answer_is_the_same(wire: Wire, simulator: Simulator) -> None:
    text = "one two three, four five six, and so on to the end"
    simulator.answer(content=text)
    whole = wire.send(simulator)
    pieces: list[str | None] = []

    streamed = wire.send(simulator, on_text=pieces.append)

    assert "".join(str(piece) for piece in pieces) == text
    assert len(pieces) > 2
    assert replace(streamed, vendor_id="") == replace(whole, vendor_id="")


@every_wire
@both_ways
def test_an_answer_by_a_schema_is_json_that_fits(wire: Wire, simulator: Simulator, *, streamed: bool) -> None:
    answer = wire.send(simulator, wire.request(response_schema=SCHEMA), listener(streamed=streamed))

    assert json.loads(answer.text) == {"n": 1}


@every_wire
def test_an_open_schema_is_answered_too(wire: Wire, simulator: Simulator) -> None:
    simulator.answer(json={"anything": [1]})

    answer = wire.send(simulator, wire.request(response_schema={"type": "object"}))

    assert json.loads(answer.text) == {"anything": [1]}


@every_wire
def test_an_image_is_taken_with_its_question(wire: Wire, simulator: Simulator) -> None:
    content = [{"type": "text", "text": "what is it"}, {"type": "image", "url": PIXEL}]

    answer = wire.send(simulator, wire.request(messages=({"role": "user", "content": content},)))

    assert "what is it" in answer.text
    assert PIXEL.partition(",")[2] in json.dumps(wire.bodies(simulator)[0])


@every_wire
@both_ways
def test_a_model_asks_for_tools(wire: Wire, simulator: Simulator, *, streamed: bool) -> None:
    other = {"id": "call_2", "name": "weather", "input": {"town": "Oslo"}}
    calls = [wire.tool_call(ASKED_FOR_PARIS), wire.tool_call(other)]
    simulator.answer(content="Let me look.", tool_calls=calls, finish_reason=wire.endings["tool_calls"])

    answer = wire.send(simulator, wire.request(tools=(WEATHER,)), listener(streamed=streamed))

    assert [{key: call[key] for key in ("id", "name", "input")} for call in answer.tool_calls] == [
        ASKED_FOR_PARIS,
        other,
    ]
    assert answer.finish_reason == "tool_calls"


@every_wire
@pytest.mark.parametrize("tools", [(WEATHER,), ()], ids=["tools", "tools no more"])
def test_a_conversation_goes_on_with_what_the_tools_said(
    wire: Wire, simulator: Simulator, tools: tuple[Mapping[str, Any], ...]
) -> None:
    history = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "tool_calls": [ASKED_FOR_PARIS, {**ASKED_FOR_PARIS, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "tool", "tool_call_id": "call_2", "content": "still rain"},
        {"role": "user", "content": "and tomorrow?"},
    )

    answer = wire.send(simulator, wire.request(messages=history, tools=tools))

    assert "and tomorrow?" in answer.text
    assert "still rain" in json.dumps(wire.bodies(simulator)[0])


@every_wire
@both_ways
@pytest.mark.parametrize("ending", ["stop", "length", "content_filter"])
def test_why_an_answer_ended_is_told_in_our_words(
    wire: Wire, simulator: Simulator, ending: str, *, streamed: bool
) -> None:
    simulator.answer(content="half a", finish_reason=wire.endings[ending])

    assert wire.send(simulator, on_text=listener(streamed=streamed)).finish_reason == ending


@every_wire
@both_ways
@pytest.mark.parametrize("happened", sorted(MEANINGS))
def test_each_refusal_means_the_same_on_every_wire(
    wire: Wire, simulator: Simulator, happened: str, *, streamed: bool
) -> None:
    simulator.fault(wire.path, times=None, **wire.faults[happened])
    kind, code, blame = MEANINGS[happened]

    error = wire.fail(simulator, on_text=listener(streamed=streamed))

    assert (type(error), error.details["blame"], error.details["sent"]) == (kind, blame, False)
    assert code in {"", error.code}
    assert error.retry_after_s == (7 if happened == "too many" else None)
    assert len(wire.bodies(simulator)) == 1


@every_wire
@both_ways
@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ({"drop": "before"}, TransientError, "network"),
        ({"drop": "after"}, TransientError, "network"),
        ({"drop": "during"}, TransientError, "network"),
        ({"delay_s": 2}, ResourceError, "timeout"),
        ({"status": 200, "body": "<html>welcome</html>"}, TransientError, ""),
        ({"status": 200, "body": "[1, 2]"}, TransientError, ""),
    ],
)
def test_each_broken_line_leaves_it_open_whether_the_vendor_charges(
    wire: Wire, simulator: Simulator, fault: dict[str, Any], kind: type[StepError], code: str, *, streamed: bool
) -> None:
    simulator.fault(wire.path, times=None, **fault)

    asked = wire.request(timeout_s=0.5 if "delay_s" in fault else 10)
    error = wire.fail(simulator, asked, on_text=listener(streamed=streamed))

    assert (type(error), error.details["sent"], error.details["blame"]) == (kind, True, Blame.MODEL)
    assert code in {"", error.code}
    assert len(wire.bodies(simulator)) == 1


@every_wire
def test_an_error_in_the_middle_of_an_answer_was_paid_for(wire: Wire, simulator: Simulator) -> None:
    simulator.fault(wire.path, stream_error=wire.stream_error)
    pieces: list[str | None] = []

    error = wire.fail(simulator, on_text=pieces.append)

    assert (type(error), error.code, error.details["sent"]) == (TransientError, "provider_unavailable", True)
    assert pieces


@every_wire
@pytest.mark.parametrize("status", [302, 307])
def test_no_vendor_can_send_us_elsewhere(wire: Wire, simulator: Simulator, status: int) -> None:
    elsewhere = {"Location": f"{simulator.base_url}/compatible/v1/models"}
    simulator.fault(wire.path, status=status, body={}, headers=elsewhere, times=None)

    error = wire.fail(simulator)

    assert type(error) is PersistentError
    assert simulator.count("/compatible") == 0


@every_wire
@both_ways
def test_a_key_is_shown_once(wire: Wire, simulator: Simulator, *, streamed: bool) -> None:
    error = wire.fail(simulator, key="invalid", on_text=listener(streamed=streamed))

    assert (error.code, error.details["blame"]) == ("auth", Blame.PROVIDER)
    assert len(wire.bodies(simulator)) == 1


@every_wire
@both_ways
def test_text_that_no_wire_can_carry_is_never_sent(wire: Wire, simulator: Simulator, *, streamed: bool) -> None:
    asked = wire.request(messages=({"role": "user", "content": "\ud800"},))

    error = wire.fail(simulator, asked, on_text=listener(streamed=streamed))

    assert (type(error), error.details["sent"]) == (FatalError, False)
    assert wire.bodies(simulator) == []


@every_wire
@both_ways
def test_a_stopped_call_stops(wire: Wire, simulator: Simulator, *, streamed: bool) -> None:
    simulator.fault(wire.path, delay_s=3)

    async def run() -> None:
        provider = wire.make(simulator, "k")
        try:
            async with asyncio.timeout(0.2):
                await provider.complete(wire.request(), listener(streamed=streamed))
        finally:
            await provider.close()

    with pytest.raises(TimeoutError):
        asyncio.run(run())


@every_wire
def test_a_provider_made_on_one_loop_works_on_another(wire: Wire, simulator: Simulator) -> None:
    provider = wire.make(simulator, "k")

    async def run() -> str:
        try:
            return (await provider.complete(wire.request())).text
        finally:
            await provider.close()

    assert asyncio.run(run()) == asyncio.run(run())
