"""The simulated Anthropic takes, counts and refuses what the real one does; spoken to with its own SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
import requests

from simulator import Simulator

SONNET, HAIKU, OLD = "claude-sonnet-5-5", "claude-haiku-5-5", "claude-sonnet-4-5"
HELLO: dict[str, Any] = {"role": "user", "content": "hello"}
WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}}}
LONG = "a word " * 1000
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


@pytest.fixture
def client(simulator: Simulator) -> Iterator[anthropic.Anthropic]:
    simulator.configure(anthropic={"today": "2026-11-20"})
    with anthropic.Anthropic(api_key="k", base_url=simulator.anthropic_url, max_retries=0) as made:
        yield made


def say(client: anthropic.Anthropic, **body: Any) -> anthropic.types.Message:
    """Ask with a body as it is, so that the SDK's own rules do not stand before the vendor's."""
    asked = {"model": SONNET, "max_tokens": 1000, "messages": [HELLO], **body}
    return client.post("/v1/messages", cast_to=anthropic.types.Message, body=asked)


def refused(client: anthropic.Anthropic, **body: Any) -> str:
    with pytest.raises(anthropic.BadRequestError) as caught:
        say(client, **body)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id
    return str(caught.value.api_message)


def block(text: str, ttl: str = "") -> dict[str, Any]:
    mark = {"cache_control": {"type": "ephemeral", **({"ttl": ttl} if ttl != "default" else {})}} if ttl else {}
    return {"type": "text", "text": text, **mark}


def kinds(usage: anthropic.types.Usage) -> tuple[int, int, int, int]:
    """Input anew, read, written for five minutes, written for an hour."""
    split = usage.cache_creation
    assert split is not None
    assert usage.cache_creation_input_tokens == split.ephemeral_5m_input_tokens + split.ephemeral_1h_input_tokens
    read = usage.cache_read_input_tokens or 0
    return (usage.input_tokens, read, split.ephemeral_5m_input_tokens, split.ephemeral_1h_input_tokens)


def test_a_message_thinks_speaks_and_counts(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model=SONNET, max_tokens=1000, messages=[{"role": "user", "content": "hello"}])

    assert [part.type for part in message.content] == ["thinking", "text"]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens_details is not None
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens


def test_thinking_takes_its_tokens_from_the_answer(client: anthropic.Anthropic) -> None:
    short = say(client, max_tokens=10)
    quiet = say(client, max_tokens=10, thinking={"type": "between_tools"})

    assert ([part.type for part in short.content], short.stop_reason) == (["thinking"], "max_tokens")
    assert [part.type for part in quiet.content] == ["text"]


@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
def test_more_effort_thinks_more(client: anthropic.Anthropic, effort: str) -> None:
    tokens = say(client, max_tokens=4000, output_config={"effort": effort}).usage.output_tokens

    assert tokens == {"low": 23, "medium": 71, "high": 263, "xhigh": 519, "max": 1031}[effort]


def test_the_sdk_s_own_stream_puts_the_message_together(simulator: Simulator, client: anthropic.Anthropic) -> None:
    call = {"id": "toolu_1", "name": "weather", "input": {"town": "Paris"}}
    simulator.answer(content="let me look it up", thinking="I need the weather", tool_calls=[call])

    with client.messages.stream(model=SONNET, max_tokens=1000, messages=[HELLO], tools=[WEATHER]) as stream:  # type: ignore[list-item]
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text == "let me look it up"
    assert [part.type for part in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[2].input == {"town": "Paris"}  # type: ignore[union-attr]
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 256


def test_events_have_names_as_well_as_data(simulator: Simulator) -> None:
    body = {"model": HAIKU, "max_tokens": 100, "messages": [HELLO], "stream": True}
    headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}

    answer = requests.post(f"{simulator.anthropic_url}/v1/messages", json=body, headers=headers, timeout=5)

    names = [line.partition(": ")[2] for line in answer.text.splitlines() if line.startswith("event:")]
    assert names[:2] == ["message_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert answer.headers["content-type"] == "text/event-stream"


def test_an_overload_in_a_stream_has_the_stream_s_status(simulator: Simulator, client: anthropic.Anthropic) -> None:
    simulator.fault("/anthropic/v1/messages", stream_error={"type": "overloaded_error", "message": "Overloaded"})

    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model=SONNET, max_tokens=1000, messages=[HELLO]) as stream,  # type: ignore[list-item]
    ):
        stream.get_final_message()

    assert (type(caught.value), caught.value.status_code, caught.value.type) == (
        anthropic.APIStatusError,
        200,
        "overloaded_error",
    )


def test_a_stream_can_break_off(simulator: Simulator, client: anthropic.Anthropic) -> None:
    simulator.fault("/anthropic/v1/messages", drop="during")

    with (
        pytest.raises(httpx2.RemoteProtocolError),
        client.messages.stream(model=SONNET, max_tokens=1000, messages=[HELLO]) as stream,  # type: ignore[list-item]
    ):
        stream.get_final_message()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"temperature": 1}, "temperature: Extra inputs are not permitted"),
        ({"top_p": 0.99}, "top_p: Extra inputs are not permitted"),
        ({"top_k": 5}, "top_k: Extra inputs are not permitted"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 128_001}, "128001 > 128000"),
        ({"max_tokens": -1}, "greater than or equal to 0"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "system", "content": "x"}, HELLO]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": " "}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": []}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "does not match any"),
        ({"messages": [HELLO, {"role": "assistant", "content": "{"}]}, "prefill"),
        ({"messages": [HELLO, {"role": "assistant", "content": [PIXEL]}]}, "not allowed"),
        ({"system": [{"type": "text", "text": ""}]}, "system"),
        ({"thinking": {"type": "disabled"}}, "between_tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "not supported"),
        ({"thinking": {"type": "adaptive", "budget_tokens": 1024}}, "budget_tokens"),
        ({"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}}, "cannot be combined"),
        ({"output_config": {"effort": "extreme"}}, "effort"),
        ({"output_config": {"speed": 1}}, "output_config.speed"),
        ({"output_config": {"format": {"type": "json_object"}}}, "output_config.format"),
        ({"tools": [WEATHER], "tool_choice": {"type": "any"}}, 'type "tool" and "any" are not supported'),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather"}}, "not supported for this model"),
        ({"tool_choice": {"type": "auto"}}, "while providing tools"),
        ({"tools": [WEATHER, WEATHER]}, "unique"),
        ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "pattern"),
        ({"tools": [{"name": "a", "input_schema": {}}]}, "input_schema"),
        ({"system": [block(str(number), "1h") for number in range(5)]}, "maximum of 4 blocks"),
        ({"system": [block("a", "5m"), block("b", "1h")]}, "must not come after"),
        ({"system": [block("a", "2h")]}, "ttl"),
    ],
)
def test_what_the_vendor_refuses_is_refused(client: anthropic.Anthropic, body: dict[str, Any], words: str) -> None:
    assert words in refused(client, **body)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"type": "base64", "media_type": "image/tiff", "data": "AAAA"}, "media_type"),
        ({"type": "base64", "media_type": "image/png", "data": "not base64!"}, "Invalid base64"),
        ({"type": "file"}, "source"),
    ],
)
def test_an_image_that_is_none_is_refused(client: anthropic.Anthropic, source: dict[str, Any], words: str) -> None:
    content = [{"type": "image", "source": source}]

    assert words in refused(client, messages=[{"role": "user", "content": content}])


def call(name: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": name, "name": "weather", "input": {}}


def result(name: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": name, "content": "rain"}


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([[call("a")], [block("and?")]], "without `tool_result`"),
        ([[call("a"), call("b")], [result("a")]], "without `tool_result`"),
        ([[call("a")], [result("b")]], "unexpected `tool_use_id`"),
        ([[block("x")], [result("a")]], "unexpected `tool_use_id`"),
        ([[call("a:1")], [result("a:1")]], "tool_use.id"),
    ],
)
def test_calls_and_results_belong_together(client: anthropic.Anthropic, turns: list[Any], words: str) -> None:
    messages = [HELLO, {"role": "assistant", "content": turns[0]}, {"role": "user", "content": turns[1]}]

    assert words in refused(client, messages=messages, tools=[WEATHER])


def test_a_history_with_calls_needs_its_tools(client: anthropic.Anthropic) -> None:
    turns = [{"role": "assistant", "content": [call("a")]}, {"role": "user", "content": [result("a")]}]

    assert say(client, messages=[HELLO, *turns], tools=[WEATHER]).content
    assert "must define tools" in refused(client, messages=[HELLO, *turns])


def test_a_thought_is_taken_back_unchanged_and_behind_the_same_conversation(client: anthropic.Anthropic) -> None:
    said = say(client, system="Be brief.", output_config={"effort": "low"})
    thought = said.content[0].model_dump(include={"type", "thinking", "signature"})
    told = {"role": "assistant", "content": [thought, block("hi")]}

    assert say(client, system="Be brief.", messages=[HELLO, told, HELLO]).content
    assert say(client, model=HAIKU, system="Be kind.", messages=[HELLO, told, HELLO]).content
    assert "has changed" in refused(client, system="Be kind.", messages=[HELLO, told, HELLO])
    thought["signature"] = "forged"
    assert "signature" in refused(client, system="Be brief.", messages=[HELLO, told, HELLO])


@pytest.mark.parametrize(
    "body",
    [
        {"model": HAIKU, "thinking": {"type": "disabled"}},
        {"model": HAIKU, "tools": [WEATHER], "tool_choice": {"type": "any"}},
        {"model": OLD, "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        {"model": OLD, "messages": [HELLO, {"role": "assistant", "content": "{"}]},
        {"thinking": {"type": "between_tools"}, "output_config": {"effort": "high"}},
        {"messages": [HELLO, {"role": "system", "content": "Be brief."}, HELLO]},
        {"tools": [WEATHER], "tool_choice": {"type": "none"}},
        {"system": [block("a", "1h"), block("b", "default")]},
        {"max_tokens": 0},
    ],
)
def test_what_another_model_or_setting_allows_is_taken(client: anthropic.Anthropic, body: dict[str, Any]) -> None:
    assert say(client, **body).role == "assistant"


def test_the_version_of_2023_still_takes_a_temperature_where_the_model_does(client: anthropic.Anthropic) -> None:
    old = client.with_options(default_headers={"anthropic-version": "2023-06-01"})

    assert say(old, model="claude-sonnet-4-6", temperature=0.5).content
    assert "temperature" in refused(old, temperature=0.5)


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({}, 401, "authentication_error"),
        ({"anthropic-version": "2026-10-21"}, 401, "authentication_error"),
        ({"anthropic-version": "2026-10-21", "x-api-key": "invalid"}, 401, "authentication_error"),
        ({"x-api-key": "k"}, 400, "invalid_request_error"),
        ({"x-api-key": "k", "anthropic-version": "newest"}, 400, "invalid_request_error"),
        ({"x-api-key": "k", "anthropic-version": "2026-10-21"}, 200, ""),
        ({"Authorization": "Bearer k", "anthropic-version": "2026-10-21"}, 200, ""),
    ],
)
def test_a_key_and_a_version_are_required(
    simulator: Simulator, headers: dict[str, str], status: int, kind: str
) -> None:
    body = {"model": HAIKU, "max_tokens": 100, "messages": [HELLO]}

    answer = requests.post(f"{simulator.anthropic_url}/v1/messages", json=body, headers=headers, timeout=5)

    assert (answer.status_code, answer.json().get("error", {}).get("type", "")) == (status, kind)


def test_headers_tell_the_limits_and_the_request(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(model=HAIKU, max_tokens=100, messages=[HELLO])  # type: ignore[list-item]

    assert raw.headers["request-id"].startswith("req_")
    assert raw.parse()._request_id == raw.headers["request-id"]
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        assert int(raw.headers[f"anthropic-ratelimit-{kind}-remaining"]) > 0
        assert raw.headers[f"anthropic-ratelimit-{kind}-reset"].endswith("Z")


def test_models_are_listed_until_their_day(simulator: Simulator, client: anthropic.Anthropic) -> None:
    before = {model.id for model in client.models.list()}
    simulator.configure(anthropic={"today": "2026-11-30"})
    after = {model.id for model in client.models.list()}

    assert before - after == {OLD, "claude-sonnet-4-5-20250929"}
    assert client.models.retrieve(SONNET).id == SONNET
    for ask in (lambda: client.models.retrieve(OLD), lambda: say(client, model=OLD), lambda: say(client, model="gpt")):
        with pytest.raises(anthropic.NotFoundError):
            ask()


def test_tokens_are_counted_without_an_answer(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model=SONNET, messages=[HELLO], system="x" * 40)  # type: ignore[list-item]

    assert counted.input_tokens == say(client, system="x" * 40).usage.input_tokens
    with pytest.raises(anthropic.BadRequestError):
        client.post(
            "/v1/messages/count_tokens", cast_to=object, body={"model": SONNET, "messages": [HELLO], "max_tokens": 1}
        )


def test_a_schema_is_answered_and_an_open_one_refused(client: anthropic.Anthropic) -> None:
    closed = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    form = {"type": "json_schema", "schema": closed}

    assert say(client, output_config={"format": form}).content[-1].text == '{"n": 1}'  # type: ignore[union-attr]
    for schema in ({**closed, "additionalProperties": True}, {"type": "integer", "minimum": 1}, {"type": "object"}):
        problem = {"format": {"type": "json_schema", "schema": schema}}
        assert "output_config.format.schema" in refused(client, output_config=problem)


def test_a_prefix_is_written_read_and_forgotten(simulator: Simulator, client: anthropic.Anthropic) -> None:
    system = [block(LONG, "default"), block("who asks")]

    assert kinds(say(client, system=system).usage) == (4, 0, 1750, 0)
    assert kinds(say(client, system=system).usage) == (4, 1750, 0, 0)
    simulator.configure(anthropic={"clock_offset_s": 299})
    assert kinds(say(client, system=system).usage) == (4, 1750, 0, 0)
    # The last reading gave it a new life.
    simulator.configure(anthropic={"clock_offset_s": 590})
    assert kinds(say(client, system=system).usage) == (4, 1750, 0, 0)
    simulator.configure(anthropic={"clock_offset_s": 900})
    assert kinds(say(client, system=system).usage) == (4, 0, 1750, 0)


def test_an_hour_s_prefix_lives_an_hour(simulator: Simulator, client: anthropic.Anthropic) -> None:
    system = [block(LONG, "1h")]

    assert kinds(say(client, system=system).usage) == (2, 0, 0, 1750)
    simulator.configure(anthropic={"clock_offset_s": 3500})
    assert kinds(say(client, system=system).usage) == (2, 1750, 0, 0)


def test_each_breakpoint_s_part_is_written_for_its_own_life(client: anthropic.Anthropic) -> None:
    system = [block(LONG, "1h"), block(LONG * 2, "5m")]

    assert kinds(say(client, system=system).usage) == (2, 0, 3500, 1750)
    changed = [block(LONG, "1h"), block(LONG * 3, "5m")]
    assert kinds(say(client, system=changed).usage) == (2, 1750, 5250, 0)


@pytest.mark.parametrize(
    ("model", "least"), [(SONNET, 512), (HAIKU, 512), ("claude-sonnet-5", 1024), ("claude-haiku-4-5", 4096)]
)
def test_a_prefix_below_the_least_is_silently_not_kept(client: anthropic.Anthropic, model: str, least: int) -> None:
    short, enough = [block("x" * 4 * (least - 1), "1h")], [block("x" * 4 * least, "1h")]

    for _ in range(2):
        assert kinds(say(client, model=model, system=short).usage) == (least + 1, 0, 0, 0)
    assert kinds(say(client, model=model, system=enough).usage) == (2, 0, 0, least)


@pytest.mark.parametrize(
    "change",
    [{"model": "claude-opus-5-5"}, {"tools": [WEATHER]}, {"system": [block(LONG + "!", "1h")]}],
)
def test_another_prefix_is_not_read(client: anthropic.Anthropic, change: dict[str, Any]) -> None:
    say(client, system=[block(LONG, "1h")])

    assert kinds(say(client, **{"system": [block(LONG, "1h")], **change}).usage)[1] == 0


def test_other_thinking_keeps_the_system_s_prefix_and_loses_the_messages(client: anthropic.Anthropic) -> None:
    body = {"system": [block(LONG, "1h")], "messages": [{"role": "user", "content": [block(LONG, "5m")]}]}
    say(client, **body)

    assert kinds(say(client, **body, output_config={"effort": "low"}).usage) == (0, 1750, 1750, 0)


def turns(count: int) -> list[dict[str, Any]]:
    texts = [block(f"{number} {LONG}", "5m" if number == count - 1 else "") for number in range(count)]
    return [{"role": ("user", "assistant")[number % 2], "content": [text]} for number, text in enumerate(texts)]


def test_a_growing_conversation_finds_its_last_writing_within_twenty_blocks(client: anthropic.Anthropic) -> None:
    say(client, messages=turns(1))

    assert kinds(say(client, messages=turns(19)).usage)[1] > 0
    assert kinds(say(client, messages=turns(41)).usage)[1] == 0


def test_a_mark_on_the_whole_request_stands_on_its_last_block(client: anthropic.Anthropic) -> None:
    body = {"messages": [{"role": "user", "content": LONG}], "cache_control": {"type": "ephemeral"}}

    assert kinds(say(client, **body).usage) == (0, 0, 1750, 0)
    assert kinds(say(client, **body).usage) == (0, 1750, 0, 0)


def batch(client: anthropic.Anthropic, *names: str) -> anthropic.types.messages.MessageBatch:
    params: Any = {"model": HAIKU, "max_tokens": 100, "messages": [HELLO]}
    return client.messages.batches.create(requests=[{"custom_id": name, "params": params} for name in names])


def test_the_sdk_reads_a_batch_s_results_from_the_address_it_is_given(client: anthropic.Anthropic) -> None:
    made = batch(client, "a", "b")

    lines = list(client.messages.batches.results(made.id))

    assert [line.custom_id for line in lines] == ["b", "a"]
    assert {line.result.type for line in lines} == {"succeeded"}
    assert lines[0].result.message.usage.service_tier == "batch"  # type: ignore[union-attr]
    assert client.messages.batches.retrieve(made.id).request_counts.succeeded == 2


def test_batches_are_listed_newest_first_and_forgotten_when_told(client: anthropic.Anthropic) -> None:
    made = [batch(client, "a").id for _ in range(5)]

    assert [one.id for one in client.messages.batches.list(limit=2)] == made[::-1]
    client.messages.batches.retrieve(made[0])
    client.messages.batches.delete(made[0])
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made[0])


@pytest.mark.parametrize("names", [(), ("a", "a"), ("not a name",), ("x" * 65,)])
def test_a_batch_needs_names_of_its_own(client: anthropic.Anthropic, names: tuple[str, ...]) -> None:
    with pytest.raises(anthropic.BadRequestError):
        batch(client, *names)


def test_results_are_not_there_before_the_end(simulator: Simulator, client: anthropic.Anthropic) -> None:
    simulator.configure(anthropic={"batch_delay_s": 60})
    made = batch(client, "a")

    assert made.processing_status == "in_progress"
    with pytest.raises(anthropic.AnthropicError):
        client.messages.batches.results(made.id)
    assert client.messages.batches.cancel(made.id).processing_status == "canceling"
    assert client.messages.batches.retrieve(made.id).request_counts.canceled == 1
