"""Answers in pieces over real sockets: what they add up to, and every way a stream can go wrong in its middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.errors import PersistentError, ResourceError, StepError, TransientError
from app.gateway.model import ChatAnswer, ChatRequest
from app.providers.openai_compatible import OpenAICompatible
from app.providers.openai_streaming import Pieces
from simulator import Simulator

CHAT = "/openai/v1/chat/completions"
ROUTED = "/openrouter/api/v1/chat/completions"
ASKED = ChatRequest(
    "openai",
    "gpt-6-luna",
    "fast_ai",
    ({"role": "user", "content": "hello"},),
    100,
    max_tokens_field="max_completion_tokens",
    timeout_s=5,
)
OWN = replace(ASKED, model="llama", max_tokens_field="max_tokens")


def stream(
    base_url: str, request: ChatRequest = ASKED, on_text: Callable[[str | None], None] | None = None
) -> tuple[ChatAnswer, list[str | None]]:
    pieces: list[str | None] = []

    async def run() -> ChatAnswer:
        provider = OpenAICompatible(name=request.provider, api_key="k", base_url=base_url)
        try:
            return await provider.complete(request, on_text or pieces.append)
        finally:
            await provider.close()

    return asyncio.run(run()), pieces


def fail(base_url: str, request: ChatRequest = ASKED) -> StepError:
    with pytest.raises(StepError) as caught:
        stream(base_url, request)
    return caught.value


def events(*chunks: Any, done: bool = True) -> dict[str, Any]:
    """A fault that answers with a stream of one's own making."""
    lines = [chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    body = "".join(lines) + ("data: [DONE]\n\n" if done else "")
    return {"status": 200, "body": body, "headers": {"Content-Type": "text/event-stream"}}


def delta(content: str | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    said = {} if content is None else {"content": content}
    return {
        "id": "c1",
        "model": "m",
        "choices": [{"index": 0, "delta": {**said, **more}, "finish_reason": finish_reason}],
    }


def test_the_wire_is_asked_for_pieces_and_for_their_usage(simulator: Simulator) -> None:
    answer, pieces = stream(simulator.openai_url)

    body = simulator.log(CHAT)[0]["body"]
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert len(pieces) > 1
    assert not answer.usage.estimated


def test_without_a_listener_nothing_is_streamed(simulator: Simulator) -> None:
    async def run() -> None:
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        try:
            await provider.complete(ASKED)
        finally:
            await provider.close()

    asyncio.run(run())

    assert "stream" not in simulator.log(CHAT)[0]["body"]


def test_pieces_come_while_the_model_still_speaks(simulator: Simulator) -> None:
    simulator.fault(CHAT, stream_delay_s=0.6)
    at: list[float] = []

    async def run() -> float:
        loop = asyncio.get_running_loop()
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        try:
            await provider.complete(ASKED, lambda _piece: at.append(loop.time()))
        finally:
            await provider.close()
        return loop.time()

    ended_at = asyncio.run(run())

    assert ended_at - at[0] >= 0.5


def test_a_stream_without_usage_is_guessed_at(simulator: Simulator) -> None:
    simulator.fault(CHAT, **events(delta("four words "), delta("of answer", "stop")))

    answer, _ = stream(simulator.openai_url)

    assert (answer.text, answer.usage.estimated, answer.usage.output_tokens) == ("four words of answer", True, 5)


def test_comments_that_keep_the_line_open_are_no_pieces(simulator: Simulator) -> None:
    simulator.fault(
        CHAT, **events(": PROCESSING\n\n", ": PROCESSING\n\n", delta("ok"), ": and so on\n\n", delta("", "stop"))
    )

    answer, pieces = stream(simulator.openai_url)

    assert (answer.text, pieces) == ("ok", ["ok"])


def test_comments_alone_do_not_hold_a_call_for_ever(simulator: Simulator) -> None:
    simulator.fault(CHAT, stream_delay_s=3)

    error = fail(simulator.openai_url, replace(ASKED, timeout_s=0.4))

    assert (type(error), error.code, error.details["sent"]) == (ResourceError, "timeout", True)


def test_a_finish_reason_is_an_end_also_without_done(simulator: Simulator) -> None:
    simulator.fault(CHAT, **events(delta("all of it"), delta(None, "stop"), done=False))

    assert stream(simulator.openai_url)[0].text == "all of it"


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_a_stream_that_ends_without_an_end_is_no_answer(simulator: Simulator, *, begun: bool, done: bool) -> None:
    simulator.fault(CHAT, **events(*([delta("half an")] if begun else []), done=done))

    error = fail(simulator.openai_url)

    assert (type(error), error.code, error.details["sent"]) == (TransientError, "cut_short", True)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"stream_raw": ""}, "cut_short"),
        ({"stream_raw": 'data: {"choices": [{"de\n\n'}, "unreadable_answer"),
        ({"stream_raw": "data: [DONE]\n\n"}, "cut_short"),
        ({"drop": "during"}, "network"),
    ],
)
def test_each_break_in_the_middle_may_pass_and_may_be_charged(
    simulator: Simulator, fault: dict[str, Any], code: str
) -> None:
    simulator.fault(CHAT, times=None, **fault)

    error = fail(simulator.openai_url)

    assert (type(error), error.code, error.details["sent"]) == (TransientError, code, True)
    assert simulator.count(CHAT) == 1


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"message": "gone", "code": 502}, TransientError, "provider_unavailable"),
        ({"message": "slow", "code": "rate_limit_exceeded"}, TransientError, "rate_limited"),
        ({"message": "pay", "code": 402}, PersistentError, "quota"),
        ({"message": "flagged", "code": 403, "metadata": {"reasons": ["x"]}}, PersistentError, "refused"),
        ({"message": "nobody knows"}, TransientError, "provider_unavailable"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, ROUTED])
def test_an_error_among_the_events_means_what_its_code_says(
    simulator: Simulator, path: str, error: dict[str, Any], kind: type[StepError], code: str
) -> None:
    routed = path == ROUTED
    request = replace(OWN, provider="openrouter", model="moonshotai/kimi-k2.6") if routed else ASKED
    simulator.fault(path, stream_error=error, times=None)

    ours = fail(simulator.openrouter_url if routed else simulator.openai_url, request)

    assert (type(ours), ours.code, ours.details["sent"]) == (kind, code, True)
    assert simulator.count(path) == 1


def test_an_error_before_the_first_piece_was_not_paid_for(simulator: Simulator) -> None:
    simulator.fault(CHAT, **events({"error": {"message": "no host", "code": 503}}))

    assert fail(simulator.openai_url).details["sent"] is False


def test_an_error_within_a_choice_ends_the_answer(simulator: Simulator) -> None:
    failed = {"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "host"}}]}
    simulator.fault(CHAT, **events(delta("half"), failed))

    error = fail(simulator.openai_url)

    assert (error.code, error.details["sent"]) == ("provider_unavailable", True)


def test_an_error_in_google_s_list_is_read(simulator: Simulator) -> None:
    simulator.fault(CHAT, **events([{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]))

    error = fail(simulator.openai_url)

    assert (error.code, error.details["sent"]) == ("provider_unavailable", False)


def test_a_server_that_does_not_stream_says_it_at_once(simulator: Simulator) -> None:
    body = {"choices": [{"message": {"content": "all at once"}, "finish_reason": "stop"}]}
    simulator.fault(CHAT, status=200, body=body)

    answer, pieces = stream(simulator.openai_url)

    assert (answer.text, pieces) == ("all at once", ["all at once"])


def test_a_refusal_in_pieces_is_a_refusal(simulator: Simulator) -> None:
    simulator.answer(refusal="I will not say that, and here is why.")

    answer, pieces = stream(simulator.openai_url)

    assert (answer.text, answer.refusal, pieces) == ("", "I will not say that, and here is why.", [])


def test_the_connection_serves_the_next_call(simulator: Simulator) -> None:
    async def run() -> int:
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        try:
            for _ in range(3):
                await provider.complete(ASKED, lambda _piece: None)
            transport: Any = provider.connection.client()._client._transport
            return sum(len(kept) for kept in transport.client.connector._conns.values())
        finally:
            await provider.close()

    assert asyncio.run(run()) == 1


def test_a_listener_that_fails_does_not_leave_the_connection_open(simulator: Simulator) -> None:
    def refuse(_piece: str | None) -> None:
        raise RuntimeError("the listener is gone")

    with pytest.raises(StepError, match="RuntimeError"):
        stream(simulator.openai_url, on_text=refuse)


# --- putting chunks together -----------------------------------------------------------------------------------------


def gathered(*deltas: dict[str, Any], finish_reason: str = "tool_calls") -> list[Any]:
    pieces = Pieces()
    for one in deltas:
        pieces.add({"choices": [{"index": 0, "delta": one, "finish_reason": None}]})
    pieces.add({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
    message = pieces.body()["choices"][0]["message"]
    return [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])
    ]


def part(arguments: str = "", index: int | None = None, call_id: str = "", name: str = "") -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    place = {} if index is None else {"index": index}
    return {"tool_calls": [{**place, **({"id": call_id} if call_id else {}), "function": function}]}


def test_calls_are_put_together_by_their_index() -> None:
    calls = gathered(
        part("", 0, "a", "weather"), part('{"x"', 0), part("", 1, "b", "time"), part(":1}", 0), part("{}", 1)
    )

    assert calls == [("a", "weather", '{"x":1}'), ("b", "time", "{}")]


def test_calls_without_an_index_are_told_apart_by_id_and_name() -> None:
    calls = gathered(part('{"x"', None, "a", "weather"), part(":1}"), part("{}", None, "b", "weather"))

    assert calls == [("a", "weather", '{"x":1}'), ("b", "weather", "{}")]


def test_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    assert gathered(part("{}", 0, "a", "weather"), part("[]", 0, "b", "time")) == [
        ("a", "weather", "{}"),
        ("b", "time", "[]"),
    ]


def test_a_name_that_comes_with_every_part_is_one_name() -> None:
    assert gathered(part('{"x"', 0, "a", "weather"), part(":1}", 0, "a", "weather")) == [("a", "weather", '{"x":1}')]
