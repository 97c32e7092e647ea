"""The simulated servers of OpenAI's wire take and refuse what the real ones do; spoken to with the openai SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
import requests

from simulator import Simulator

CHAT = "/openai/v1/chat/completions"
LONG = "The studio's style guide, which every prompt begins with. " * 100  # 5,800 characters, 1,450 tokens
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
ASKS_FOR_IT = {"role": "assistant", "content": None, "tool_calls": [CALL]}


@contextmanager
def client(simulator: Simulator, base_url: str = "", key: str = "k") -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=key, base_url=base_url or simulator.openai_url, max_retries=0) as connected:
        yield connected


def say(simulator: Simulator, base_url: str = "", key: str = "k", **more: Any) -> Any:
    body: dict[str, Any] = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "hi"}], **more}
    with client(simulator, base_url, key) as connected:
        answer = connected.chat.completions.create(**body)
        return list(answer) if body.get("stream") else answer


def refused(simulator: Simulator, base_url: str = "", key: str = "k", **more: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        say(simulator, base_url, key, **more)
    return caught.value


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("more", "status", "code", "param"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found", None),
        ({"model": "text-embedding-3-small"}, 404, None, "model"),
        ({"extra_body": {"provider": {}}}, 400, "unknown_parameter", "provider"),
        ({"stream_options": {"include_usage": True}}, 400, "invalid_value", "stream_options"),
        ({"max_tokens": 5}, 400, "unsupported_parameter", "max_tokens"),
        ({"top_p": 0.5}, 400, "unsupported_value", "top_p"),
        ({"reasoning_effort": "huge"}, 400, "unsupported_value", "reasoning_effort"),
        ({"model": "gpt-4o", "reasoning_effort": "low"}, 400, "unsupported_parameter", "reasoning_effort"),
        ({"model": "gpt-4o", "max_tokens": 0}, 400, "invalid_value", "max_tokens"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": "assistant", "content": None}]}, 400, "invalid_value", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "invalid_type", "messages[0].content"),
        (
            {"messages": user({"type": "text", "text": "x", "cache": "1h"})},
            400,
            "unknown_parameter",
            "messages[0].content[0].cache",
        ),
        ({"messages": user({"type": "image"})}, 400, "invalid_value", "messages[0].content[0].type"),
        (
            {"messages": user({"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}})},
            400,
            "invalid_image_url",
            "messages[0].content[0].image_url",
        ),
        (
            {"messages": user({"type": "image_url", "image_url": {"url": "data:text/plain;base64,AA=="}})},
            400,
            "invalid_image_url",
            "messages[0].content[0].image_url",
        ),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]},
            400,
            "invalid_value",
            "messages[0]",
        ),
        ({"messages": [ASKS_FOR_IT]}, 400, "invalid_value", "messages"),
        ({"messages": [ASKS_FOR_IT, {"role": "user", "content": "x"}]}, 400, "invalid_value", "messages[1]"),
        (
            {"messages": [{**ASKS_FOR_IT, "tool_calls": [{**CALL, "extra_content": {}}]}]},
            400,
            "unknown_parameter",
            "messages[0].tool_calls[0].extra_content",
        ),
        ({"tools": []}, 400, "empty_array", "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, 400, "invalid_value", "tools[0]"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "input_schema": {}}}]},
            400,
            "unknown_parameter",
            "tools[0].function.input_schema",
        ),
        (
            {"tools": [{"type": "function", "function": {**TOOL["function"], "strict": True}}]},  # type: ignore[dict-item]
            400,
            "invalid_function_parameters",
            "tools[0].function.parameters",
        ),
        ({"tools": [TOOL]}, 400, None, "reasoning_effort"),
        ({"tools": [TOOL], "reasoning_effort": "low"}, 400, None, "reasoning_effort"),
        ({"response_format": {"type": "json_object"}}, 400, "invalid_value", "messages"),
    ],
)
def test_openai_refuses(
    simulator: Simulator, more: dict[str, Any], status: int, code: str | None, param: str | None
) -> None:
    error = refused(simulator, **more)

    assert (error.status_code, error.code, error.param) == (status, code, param)
    assert error.request_id


def test_without_a_key_each_server_says_so_in_its_way(simulator: Simulator) -> None:
    google = f"{simulator.google_url}/v1beta/openai/"
    errors = [refused(simulator, base, "invalid") for base in (simulator.openai_url, simulator.openrouter_url, google)]

    assert [(error.status_code, error.code) for error in errors] == [
        (401, "invalid_api_key"),
        (401, "401"),
        (400, None),
    ]
    body: Any = errors[2].body
    assert body[0]["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert say(simulator, simulator.own_url, "invalid", model="llama").choices


def test_a_model_is_gone_from_its_day_on(simulator: Simulator) -> None:
    simulator.configure(openai={"today": "2026-12-10"})
    assert say(simulator, model="gpt-5").choices

    simulator.configure(openai={"today": "2026-12-11"})
    assert refused(simulator, model="gpt-5").code == "model_not_found"
    with client(simulator) as connected:
        names = {model.id for model in connected.models.list()}
        with pytest.raises(openai.NotFoundError):
            connected.models.retrieve("gpt-5")
    assert "gpt-6-luna" in names
    assert "gpt-5" not in names


def test_openrouter_tells_a_name_it_never_heard_from_one_without_hosts(simulator: Simulator) -> None:
    simulator.configure(openrouter={"today": "2026-12-01"})

    unknown = refused(simulator, simulator.openrouter_url, model="who/knows")
    gone = refused(simulator, simulator.openrouter_url, model="google/gemini-2.5-pro")

    assert (unknown.status_code, gone.status_code) == (400, 404)


def test_long_beginnings_are_read_from_the_cache_without_being_asked(simulator: Simulator) -> None:
    def cached(model: str, system: str, question: str) -> int:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        usage = say(simulator, model=model, messages=messages).usage
        assert usage.prompt_tokens > usage.prompt_tokens_details.cached_tokens
        return int(usage.prompt_tokens_details.cached_tokens)

    assert cached("gpt-6-luna", LONG, "one") == 0
    second = cached("gpt-6-luna", LONG, "two")
    assert 1024 <= second <= 1450
    assert second % 128 == 0
    assert cached("gpt-6-sol", LONG, "two") == 0
    assert cached("gpt-6-luna", "Another beginning. " + LONG, "two") == 0
    assert cached("gpt-6-luna", LONG[:4000], "two") == 0


def test_the_cache_forgets_after_ten_minutes_without_use(simulator: Simulator) -> None:
    messages = [{"role": "user", "content": LONG}]

    def cached(offset_s: float) -> bool:
        simulator.configure(openai={"clock_offset_s": offset_s})
        return bool(say(simulator, messages=messages).usage.prompt_tokens_details.cached_tokens)

    assert [cached(0), cached(590), cached(1180), cached(1790)] == [False, True, True, False]


def test_a_used_up_quota_is_a_429_that_does_not_say_whether_to_retry(simulator: Simulator) -> None:
    simulator.configure(openai={"exhausted": True})

    error = refused(simulator)

    assert (error.status_code, error.code, error.type) == (429, "insufficient_quota", "insufficient_quota")
    assert "x-should-retry" not in error.response.headers


def test_the_sdk_would_ask_three_times_for_nothing(simulator: Simulator) -> None:
    simulator.configure(openai={"exhausted": True})
    with (
        openai.OpenAI(api_key="k", base_url=simulator.openai_url) as connected,
        pytest.raises(openai.RateLimitError),
    ):
        connected.chat.completions.create(model="gpt-6-luna", messages=[{"role": "user", "content": "hi"}])

    assert simulator.count(CHAT) == 3


def test_a_rate_is_held_and_says_when_to_come_again(simulator: Simulator) -> None:
    simulator.configure(openai={"requests_a_minute": 2})
    say(simulator)
    say(simulator)

    error = refused(simulator)

    assert (error.status_code, error.code) == (429, "rate_limit_exceeded")
    assert 50 < float(error.response.headers["retry-after"]) <= 60
    assert 50_000 < float(error.response.headers["retry-after-ms"]) <= 60_000


def test_a_prompt_beyond_the_context_is_refused(simulator: Simulator) -> None:
    simulator.configure(openai={"context_tokens": 10})

    error = refused(simulator, messages=[{"role": "user", "content": "x" * 100}])

    assert error.code == "context_length_exceeded"


def test_an_answer_can_be_cut_at_its_limit(simulator: Simulator) -> None:
    simulator.configure(openai={"cut_at_max_tokens": True})
    simulator.answer(content="x" * 100)

    answer = say(simulator, max_completion_tokens=5)

    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 5)


def test_parsed_answers_and_streams_please_the_sdk(simulator: Simulator) -> None:
    with client(simulator) as connected:
        manager = connected.chat.completions.stream(model="gpt-6-luna", messages=[{"role": "user", "content": "hi"}])
        with manager as stream:
            final = stream.get_final_completion()

    assert final.choices[0].message.content == "Simulated answer to: hi"


def test_openrouter_keeps_the_line_open_with_comments_and_ends_with_the_cost(simulator: Simulator) -> None:
    body = {"model": "moonshotai/kimi-k2.6", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    text = requests.post(
        f"{simulator.openrouter_url}/chat/completions", json=body, headers={"Authorization": "Bearer k"}, timeout=5
    ).text

    assert text.startswith(": OPENROUTER PROCESSING\n\n")
    assert '"cost":' in text.split("data: ")[-2]
    assert text.endswith("data: [DONE]\n\n")


def test_embeddings_come_as_asked(simulator: Simulator) -> None:
    with client(simulator) as connected:
        by_default = connected.embeddings.create(model="text-embedding-3-small", input="a")
        as_numbers = connected.embeddings.create(model="text-embedding-3-small", input=["a"], encoding_format="float")
        as_text: Any = connected.embeddings.create(
            model="text-embedding-3-small", input=["a"], encoding_format="base64"
        )

    assert by_default.data[0].embedding == pytest.approx(as_numbers.data[0].embedding, abs=1e-6)
    assert isinstance(as_text.data[0].embedding, str)
    assert [entry["body"]["encoding_format"] for entry in simulator.log("/openai/v1/embeddings")] == [
        "base64",
        "float",
        "base64",
    ]


def test_a_stream_can_pause_and_break_as_ordered(simulator: Simulator) -> None:
    simulator.fault(CHAT, stream_delay_s=0.3)
    simulator.fault(CHAT, stream_raw="data: {broken\n\n")
    started = time.monotonic()
    chunks = say(simulator, stream=True)
    paused_s = time.monotonic() - started

    with pytest.raises(ValueError, match="Expecting property name"):
        say(simulator, stream=True)

    assert paused_s > 0.28
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_reset_forgets_accounts(simulator: Simulator) -> None:
    simulator.configure(openai={"exhausted": True}, compatible={"retired": ["llama"]})
    simulator.reset()

    assert say(simulator).choices
    assert say(simulator, simulator.own_url, model="llama").choices
