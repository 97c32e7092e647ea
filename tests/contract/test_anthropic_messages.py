"""Anthropic's messages with the real SDK over real sockets: what this wire has of its own."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from app.errors import PersistentError, TransientError
from app.gateway.model import Blame, ChatAnswer, ChatRequest, Usage
from app.gateway.ports import OnText
from app.gateway.registry_file import read_registry
from app.providers.anthropic_messages import LONGEST_UNSTREAMED_TOKENS, AnthropicMessages
from simulator import Simulator
from simulator.anthropic_wire import error_body
from tests.contract.test_chat_providers import ANTHROPIC as WIRE
from tests.contract.test_chat_providers import ASKED_FOR_PARIS, SCHEMA, WEATHER, both_ways, listener

ROOT = Path(__file__).resolve().parents[2]
SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
LONG = "a word " * 1000
REGISTRY = read_registry(ROOT / "orchestration_config.json")
OFFERS = [
    (name, model.max_tokens, offer)
    for name, model in REGISTRY.models.items()
    for offer in model.offers
    if offer.provider == "anthropic"
]


def system(*parts: tuple[str, str | None]) -> Mapping[str, Any]:
    """Write a system message of texts and the marks behind them."""
    content = [{"type": "text", "text": text, **({"cache": cache} if cache else {})} for text, cache in parts]
    return {"role": "system", "content": content}


def ask(*messages: Mapping[str, Any], model: str = SONNET) -> ChatRequest:
    return WIRE.request(model=model, messages=(*messages, {"role": "user", "content": "hello"}))


def send(simulator: Simulator, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
    return WIRE.send(simulator, request, on_text)


def test_the_key_travels_as_a_bearer_and_nothing_is_tried_twice(simulator: Simulator) -> None:
    simulator.fault(WIRE.path, status=500, times=None)

    WIRE.fail(simulator, key="secret")

    headers = [entry["headers"] for entry in simulator.log(WIRE.path)]
    assert [one["authorization"] for one in headers] == ["Bearer secret"]
    assert headers[0]["anthropic-version"] == "2026-10-21"
    assert headers[0]["content-type"] == "application/json"


def test_no_sampling_parameter_is_ever_sent(simulator: Simulator) -> None:
    request = WIRE.request(temperature=0.5, top_p=0.9, extra={"temperature": 1, "top_k": 4, "service_tier": "auto"})

    send(simulator, request)

    assert WIRE.bodies(simulator) == [
        {
            "model": HAIKU,
            "max_tokens": 2000,
            "messages": [{"role": "user", "content": "hello"}],
            "service_tier": "auto",
        }
    ]


def test_the_limit_is_called_what_this_wire_calls_it(simulator: Simulator) -> None:
    send(simulator, WIRE.request(max_tokens_field="max_completion_tokens"))

    assert WIRE.bodies(simulator)[0]["max_tokens"] == 2000


@pytest.mark.parametrize(("name", "most", "offer"), OFFERS, ids=[name for name, _, _ in OFFERS])
def test_the_vendor_answers_every_model_as_the_registry_spells_it(
    simulator: Simulator, name: str, most: int, offer: Any
) -> None:
    request = WIRE.request(model=offer.model, logical=name, max_tokens=most, extra=offer.extra)

    # Thinking counts towards the limit: a small one with much thinking leaves no room for a word.
    assert send(simulator, request).text.startswith("Simulated answer")


def test_system_messages_stand_before_the_conversation(simulator: Simulator) -> None:
    late = {"role": "system", "content": "Be kind."}

    send(simulator, ask(system(("Be brief.", None), ("", None)), late))

    body = WIRE.bodies(simulator)[0]
    assert body["system"] == [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    assert [message["role"] for message in body["messages"]] == ["user"]


def test_a_marked_prefix_is_written_once_and_then_read(simulator: Simulator) -> None:
    request = ask(system((LONG, "1h"), ("who asks", None)))

    first, second = send(simulator, request).usage, send(simulator, request).usage

    assert (first.cache_write_1h_tokens, first.cache_write_5m_tokens, first.cache_read_tokens) == (1750, 0, 0)
    assert (second.cache_write_1h_tokens, second.cache_read_tokens) == (0, 1750)
    assert first.input_tokens == second.input_tokens > 0
    assert first.prompt_tokens == second.prompt_tokens


@both_ways
def test_writes_for_five_minutes_and_for_an_hour_are_told_apart(simulator: Simulator, *, streamed: bool) -> None:
    request = ask(system((LONG, "1h"), (LONG, "5m")))

    usage = send(simulator, request, listener(streamed=streamed)).usage

    assert (usage.cache_write_1h_tokens, usage.cache_write_5m_tokens) == (1750, 1750)


def test_a_mark_within_the_conversation_counts_too(simulator: Simulator) -> None:
    said = {"role": "user", "content": [{"type": "text", "text": LONG, "cache": "5m"}]}
    answered = {"role": "assistant", "content": "yes"}

    assert send(simulator, ask(said, answered)).usage.cache_write_5m_tokens == 1750
    assert send(simulator, ask(said, answered)).usage.cache_read_tokens == 1750


def test_of_too_many_marks_the_first_and_the_furthest_stay(simulator: Simulator) -> None:
    send(simulator, ask(system(*((f"part {number}", "1h") for number in range(6)))))

    marked = [block["text"] for block in WIRE.bodies(simulator)[0]["system"] if "cache_control" in block]
    assert marked == ["part 0", "part 3", "part 4", "part 5"]


def test_an_hour_s_mark_behind_one_for_five_minutes_gives_way(simulator: Simulator) -> None:
    send(simulator, ask(system(("a", "1h"), ("b", "5m"), ("c", "1h"))))

    lives = [block["cache_control"]["ttl"] for block in WIRE.bodies(simulator)[0]["system"]]
    assert lives == ["1h", "5m", "5m"]


def test_thinking_before_the_text_is_counted_and_not_shown(simulator: Simulator) -> None:
    simulator.answer(content="four", thinking="two and two make four")
    pieces: list[str | None] = []

    answer = send(simulator, ask(), pieces.append)

    assert (answer.text, pieces) == ("four", ["four"])
    assert answer.usage.reasoning_tokens == 256
    assert answer.usage.output_tokens == 257


def test_the_registry_s_thinking_and_effort_reach_the_vendor_beside_a_schema(simulator: Simulator) -> None:
    extra = {"thinking": {"type": "between_tools"}, "output_config": {"effort": "low"}}

    answer = send(simulator, replace(ask(), extra=extra, response_schema=SCHEMA))

    assert answer.usage.reasoning_tokens == 0
    assert WIRE.bodies(simulator)[0]["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": SCHEMA},
    }
    assert extra["output_config"] == {"effort": "low"}


def test_a_schema_that_cannot_be_closed_is_asked_for_in_words(simulator: Simulator) -> None:
    opened = {"type": "object", "additionalProperties": {"type": "number"}}
    simulator.answer(json={"a": 1})

    send(simulator, replace(ask(system(("Be brief.", "1h"))), response_schema=opened))

    body = WIRE.bodies(simulator)[0]
    assert "output_config" not in body
    assert body["system"][0]["text"] == "Be brief."
    assert json.dumps(opened) in body["system"][1]["text"]


@both_ways
def test_a_refusal_says_why(simulator: Simulator, *, streamed: bool) -> None:
    simulator.answer(content="", finish_reason="refusal", refusal="This could hurt somebody.")

    answer = send(simulator, ask(), listener(streamed=streamed))

    assert (answer.finish_reason, answer.refusal) == ("content_filter", "This could hurt somebody.")


def test_a_refusal_without_a_reason_is_still_one(simulator: Simulator) -> None:
    simulator.answer(finish_reason="refusal")

    assert send(simulator, ask()).refusal == "general_harms"


@pytest.mark.parametrize(
    ("said", "ours"),
    [("stop_sequence", "stop"), ("model_context_window_exceeded", "length"), ("pause_turn", "pause_turn")],
)
def test_rare_endings_have_words_too(simulator: Simulator, said: str, ours: str) -> None:
    simulator.answer(content="so far", finish_reason=said)

    assert send(simulator, ask()).finish_reason == ours


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


def test_turns_that_say_nothing_are_left_out(simulator: Simulator) -> None:
    silent = {"role": "assistant", "content": ""}
    blank = {"role": "assistant", "content": [{"type": "text", "text": "  "}]}

    send(simulator, ask({"role": "user", "content": "well?"}, silent, blank))

    assert WIRE.bodies(simulator)[0]["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "well?"}, {"type": "text", "text": "hello"}]}
    ]


def test_an_image_is_sent_as_its_data_and_never_fetched_by_us(simulator: Simulator) -> None:
    content = [{"type": "image", "url": "data:image/webp;base64,AAAA"}, {"type": "text", "text": "what"}]

    send(simulator, WIRE.request(messages=({"role": "user", "content": content},)))

    assert WIRE.bodies(simulator)[0]["messages"][0]["content"][0] == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/webp", "data": "AAAA"},
    }


def test_an_image_we_cannot_send_is_refused_before_anything_is_sent(simulator: Simulator) -> None:
    content = [{"type": "image", "url": "file:///etc/passwd"}]

    error = WIRE.fail(simulator, WIRE.request(messages=({"role": "user", "content": content},)))

    assert (type(error), error.code, error.details["sent"]) == (PersistentError, "bad_image", False)
    assert WIRE.bodies(simulator) == []


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


EVENT_STREAM = {"Content-Type": "text/event-stream"}
START = (
    'event: message_start\ndata: {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}}\n\n'
)


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


def test_half_a_pair_of_surrogates_in_an_answer_does_not_lose_it(simulator: Simulator) -> None:
    body = r'{"content": [{"type": "text", "text": "smile \ud83d"}], "stop_reason": "end_turn"}'
    simulator.fault(WIRE.path, status=200, body=body)

    assert send(simulator, ask()).text == "smile \ud83d"


def test_a_vendor_that_counts_nothing_is_guessed_at_and_marked(simulator: Simulator) -> None:
    body = {"content": [{"type": "text", "text": "four words of answer"}], "stop_reason": "end_turn"}
    simulator.fault(WIRE.path, status=200, body=body)

    assert send(simulator, WIRE.request()).usage == Usage(input_tokens=2, output_tokens=5, estimated=True)


def test_a_long_answer_comes_as_events_even_when_nobody_watches(simulator: Simulator) -> None:
    answer = send(simulator, WIRE.request(max_tokens=LONGEST_UNSTREAMED_TOKENS + 1))

    assert answer.text
    assert WIRE.bodies(simulator)[0]["stream"] is True


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


def test_one_client_serves_hundreds_at_once(simulator: Simulator) -> None:
    simulator.configure(answers={"latency_s": 1.0})

    async def run() -> None:
        provider = WIRE.make(simulator, "k")
        try:
            await asyncio.gather(*(provider.complete(WIRE.request(timeout_s=30)) for _ in range(300)))
        finally:
            await provider.close()

    asyncio.run(run())

    begun = [(entry["at"], 1) for entry in simulator.log(WIRE.path)]
    ended = [(entry["at"] + entry["duration_s"], -1) for entry in simulator.log(WIRE.path)]
    open_at_once = accumulate(change for _, change in sorted(begun + ended))
    # The transport's own limit of connections is 100, and is what it falls back to without a number.
    assert max(open_at_once) > 150
