"""Anthropic's messages with the real SDK over real sockets: what this wire has of its own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from app.errors import PersistentError
from app.gateway.model import Usage
from app.gateway.registry_file import read_registry
from app.providers.anthropic_messages import LONGEST_UNSTREAMED_TOKENS
from simulator import Simulator
from tests.contract.anthropic_asking import HAIKU, ask, send, system
from tests.contract.test_chat_providers import ANTHROPIC as WIRE
from tests.contract.test_chat_providers import SCHEMA, both_ways, listener

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = read_registry(ROOT / "orchestration_config.json")
OFFERS = [
    (name, model.max_tokens, offer)
    for name, model in REGISTRY.models.items()
    for offer in model.offers
    if offer.provider == "anthropic"
]


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
