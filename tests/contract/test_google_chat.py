"""Google's endpoint that speaks OpenAI's wire: its list around errors, its waits, its signatures, its strictness."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.errors import PersistentError, StepError, TransientError
from app.gateway.model import Blame, ChatAnswer, ChatRequest
from app.providers.google_chat import google_chat
from simulator import Simulator

CHAT = "/google/v1beta/openai/chat/completions"
ASKED = ChatRequest(
    "google_ai", "gemini-3.8-flash", "image_analysis_ai", ({"role": "user", "content": "hello"},), 100, timeout_s=5
)
TOOL = {"name": "weather", "description": "", "input_schema": {"type": "object", "properties": {}}}


def send(simulator: Simulator, request: ChatRequest = ASKED, *, streamed: bool = False, key: str = "k") -> ChatAnswer:
    async def run() -> ChatAnswer:
        provider = google_chat(api_key=key, base_url=f"{simulator.google_url}/v1beta/openai/")
        try:
            return await provider.complete(request, (lambda _piece: None) if streamed else None)
        finally:
            await provider.close()

    return asyncio.run(run())


def fail(simulator: Simulator, request: ChatRequest = ASKED, **options: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        send(simulator, request, **options)
    return caught.value


def listed(code: int, status: str, message: str = "no", **detail: Any) -> dict[str, Any]:
    error = {"code": code, "message": message, "status": status, "details": [detail] if detail else []}
    return {"status": code, "body": [{"error": error}]}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind", "code", "blame"),
    [
        (listed(400, "INVALID_ARGUMENT"), PersistentError, "http_400", Blame.NONE),
        (listed(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID"), PersistentError, "auth", Blame.PROVIDER),
        (listed(401, "UNAUTHENTICATED"), PersistentError, "auth", Blame.PROVIDER),
        (listed(403, "PERMISSION_DENIED"), PersistentError, "auth", Blame.PROVIDER),
        (listed(404, "NOT_FOUND", "models/x is not found"), PersistentError, "model_gone", Blame.RETIRED),
        (listed(429, "RESOURCE_EXHAUSTED"), TransientError, "rate_limited", Blame.MODEL),
        (listed(500, "INTERNAL"), TransientError, "provider_unavailable", Blame.MODEL),
        (listed(503, "UNAVAILABLE"), TransientError, "provider_unavailable", Blame.MODEL),
        (listed(504, "DEADLINE_EXCEEDED"), TransientError, "provider_unavailable", Blame.MODEL),
    ],
)
def test_each_refusal_in_a_list_has_its_class_and_is_met_once(
    simulator: Simulator, fault: dict[str, Any], kind: type[StepError], code: str, blame: Blame, *, streamed: bool
) -> None:
    simulator.fault(CHAT, times=None, **fault)

    error = fail(simulator, streamed=streamed)

    assert (type(error), error.code, error.details["blame"], error.details["sent"]) == (kind, code, blame, False)
    assert simulator.count(CHAT) == 1


@pytest.mark.parametrize(
    ("delay", "header", "seconds"),
    [("32s", None, 32.0), ("1.5s", None, 1.5), ("soon", None, None), ("9s", 4, 4.0)],
)
def test_the_wait_it_asks_for_stands_among_the_details(
    simulator: Simulator, delay: str, header: float | None, seconds: float | None
) -> None:
    simulator.fault(CHAT, **listed(429, "RESOURCE_EXHAUSTED", retryDelay=delay), retry_after=header)

    assert fail(simulator).retry_after_s == seconds


def test_what_was_thought_is_paid_for_though_only_the_total_shows_it(simulator: Simulator) -> None:
    simulator.answer(content="four", usage={"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 72})

    usage = send(simulator).usage

    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (7, 65, 60)


def test_a_refused_key_is_shown_once_although_it_comes_as_a_bad_request(simulator: Simulator) -> None:
    error = fail(simulator, key="invalid")

    assert (error.code, error.details["blame"], error.details["status"]) == ("auth", Blame.PROVIDER, 400)
    assert simulator.count(CHAT) == 1


def test_a_rate_that_is_used_up_says_when_to_come_again(simulator: Simulator) -> None:
    simulator.configure(google_ai={"requests_a_minute": 1})
    send(simulator)

    error = fail(simulator)

    assert error.code == "rate_limited"
    assert error.retry_after_s is not None
    assert 50 < error.retry_after_s <= 60


@pytest.mark.parametrize("extra", [{"reasoning": {"effort": "low"}}, {"provider": {}}, {"store": False}])
def test_a_field_it_does_not_know_is_refused(simulator: Simulator, extra: dict[str, Any]) -> None:
    error = fail(simulator, replace(ASKED, extra=extra))

    assert (type(error), error.details["blame"]) == (PersistentError, Blame.NONE)
    assert f'Unknown name "{next(iter(extra))}"' in str(error)


@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_we_send_is_a_field_it_does_not_know(simulator: Simulator, *, streamed: bool) -> None:
    full = replace(
        ASKED,
        tools=(TOOL,),
        temperature=0.5,
        top_p=0.9,
        response_schema={"type": "object", "properties": {}, "additionalProperties": False},
        extra={"reasoning_effort": "low"},
        messages=(
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache": "1h"}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is it", "cache": "5m"},
                    {"type": "image", "url": "data:image/png;base64,AA=="},
                ],
            },
        ),
    )

    assert send(simulator, full, streamed=streamed).text == "{}"


@pytest.mark.parametrize("streamed", [False, True])
def test_the_signature_of_a_call_goes_back_with_it(simulator: Simulator, *, streamed: bool) -> None:
    simulator.answer(tool_calls=[{"id": "c1", "name": "weather", "input": {}}], times=1)
    first = send(simulator, replace(ASKED, tools=(TOOL,)), streamed=streamed)
    history = (
        *ASKED.messages,
        {"role": "assistant", "content": first.text, "tool_calls": list(first.tool_calls)},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    )

    send(simulator, replace(ASKED, tools=(TOOL,), messages=history), streamed=streamed)

    said = simulator.log(CHAT)[1]["body"]["messages"][1]["tool_calls"][0]
    assert said["extra_content"] == {"google": {"thought_signature": "c2lnbmVk"}}
    assert first.finish_reason == "tool_calls"


def test_a_call_that_another_vendor_s_model_made_is_taken_over(simulator: Simulator) -> None:
    calls = [{"id": "c1", "name": "weather", "input": {}}, {"id": "c2", "name": "weather", "input": {}}]
    history = (
        *ASKED.messages,
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "snow"},
    )

    assert send(simulator, replace(ASKED, tools=(TOOL,), messages=history)).text


def test_a_model_that_retires_is_followed_by_the_one_google_says(simulator: Simulator) -> None:
    old = replace(ASKED, model="gemini-2.5-pro")
    simulator.configure(google_ai={"today": "2026-11-30"})
    before = send(simulator, old)
    simulator.configure(google_ai={"today": "2026-12-01"})
    after = send(simulator, old)

    assert (before.model, after.model) == ("gemini-2.5-pro", "gemini-3.8-flash")


def test_a_model_it_never_had_is_gone(simulator: Simulator) -> None:
    error = fail(simulator, replace(ASKED, model="gemini-9"))

    assert (error.code, error.details["blame"]) == ("model_gone", Blame.RETIRED)
