"""The adapter with the real SDK over real sockets, against the simulator: answers, usage, and every way to break."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from app.errors import FatalError, PersistentError, ResourceError, StepError, TransientError
from app.gateway.fakes import FakeLedger, LocalGate
from app.gateway.model import ChatAnswer, ChatRequest, ModelAnswer, ModelCall
from app.gateway.ports import ChatProvider
from app.gateway.registry import Offer
from app.gateway.registry_file import read_registry
from app.gateway.service import Gateway
from app.providers.google_chat import google_chat
from app.providers.openai_compatible import OpenAICompatible
from app.providers.openai_messages import wire_body
from app.providers.openrouter import openrouter
from simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
CHAT = "/openai/v1/chat/completions"
TODAY = dt.date(2026, 11, 20)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
ASKED = ChatRequest(
    "openai",
    "gpt-6-luna",
    "fast_ai",
    ({"role": "user", "content": "hello"},),
    100,
    max_tokens_field="max_completion_tokens",
    timeout_s=5,
)


def send(simulator: Simulator, request: ChatRequest = ASKED, *, key: str = "k", base: str = "") -> ChatAnswer:
    async def run() -> ChatAnswer:
        provider = OpenAICompatible(name="openai", api_key=key, base_url=base or simulator.openai_url)
        try:
            return await provider.complete(request)
        finally:
            await provider.close()

    return asyncio.run(run())


def fail(simulator: Simulator, request: ChatRequest = ASKED, **options: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        send(simulator, request, **options)
    return caught.value


def ask(simulator: Simulator, call: ModelCall, ledger: FakeLedger | None = None) -> ModelAnswer:
    async def run() -> ModelAnswer:
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        registry = read_registry(ROOT / "orchestration_config.json")
        gateway = Gateway(registry, {"openai": provider}, gate=LocalGate(), today=lambda: TODAY)
        try:
            return await gateway.complete(call, ledger or FakeLedger())
        finally:
            await gateway.close()

    return asyncio.run(run())


def test_an_answer_comes_with_its_usage(simulator: Simulator) -> None:
    simulator.answer(
        content="four",
        usage={
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 15},
        },
    )

    answer = send(simulator)

    assert (answer.text, answer.finish_reason, answer.model) == ("four", "stop", "gpt-6-luna")
    # On this wire the prompt's tokens include the cached ones; ours do not overlap.
    assert (answer.usage.input_tokens, answer.usage.cache_read_tokens, answer.usage.cache_write_5m_tokens) == (
        30,
        60,
        10,
    )
    assert (answer.usage.prompt_tokens, answer.usage.output_tokens, answer.usage.reasoning_tokens) == (100, 20, 15)


def test_the_vendor_s_own_cost_is_read(simulator: Simulator) -> None:
    simulator.answer(content="dear", usage={"cost": 0.0125})

    answer = send(simulator, replace(ASKED, model="moonshotai/kimi-k2.6"), base=simulator.openrouter_url)

    assert answer.usage.vendor_cost_usd == Decimal("0.0125")


def test_the_key_travels_as_a_bearer_and_the_sdk_does_not_retry(simulator: Simulator) -> None:
    simulator.fault(CHAT, status=500, times=None)

    fail(simulator, key="secret")

    entries = simulator.log(CHAT)
    assert [entry["headers"]["authorization"] for entry in entries] == ["Bearer secret"]


def test_nothing_of_this_machine_is_told(simulator: Simulator) -> None:
    send(simulator)

    assert not [name for name in simulator.log(CHAT)[0]["headers"] if name.startswith("x-stainless")]


def test_a_server_of_one_s_own_needs_no_key(simulator: Simulator) -> None:
    own = replace(ASKED, model="llama", max_tokens_field="max_tokens")

    assert send(simulator, own, key="", base=simulator.own_url).text.startswith("Simulated answer")


def test_the_body_is_what_the_registry_and_the_task_say(simulator: Simulator) -> None:
    request = replace(ASKED, model="gpt-4o", temperature=0.5, top_p=0.9, extra={"seed": 7})

    send(simulator, request)

    body = simulator.log(CHAT)[0]["body"]
    assert body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
    }


def test_an_image_travels_behind_its_text(simulator: Simulator) -> None:
    content = [{"type": "text", "text": "what is it"}, {"type": "image", "url": "data:image/png;base64,AA=="}]

    send(simulator, replace(ASKED, messages=({"role": "user", "content": content},)))

    assert simulator.log(CHAT)[0]["body"]["messages"][0]["content"] == [
        {"type": "text", "text": "what is it"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]


def test_a_closed_schema_is_asked_for_strictly_and_an_open_one_is_not() -> None:
    closed = wire_body(replace(ASKED, response_schema=SCHEMA))["response_format"]["json_schema"]
    opened = wire_body(replace(ASKED, response_schema={"type": "object"}))["response_format"]["json_schema"]

    assert (closed["strict"], opened["strict"]) == (True, False)
    assert closed["schema"] == SCHEMA


@pytest.mark.parametrize("schema", [SCHEMA, {"type": "object", "properties": {"n": {"type": "integer"}}}])
def test_a_structured_answer_comes_back_as_data(simulator: Simulator, schema: dict[str, Any]) -> None:
    assert ask(simulator, ModelCall("thinking_ai", "a number", config={"response_schema": schema})).output == {"n": 1}


REGISTRY = read_registry(ROOT / "orchestration_config.json")
OFFERS = [
    pytest.param(model.name, offer, id=f"{model.name}-{offer.provider}")
    for model in REGISTRY.models.values()
    for offer in model.offers
    if model.kind == "chat" and offer.provider != "anthropic"
]


@pytest.mark.parametrize(("model", "offer"), OFFERS)
def test_each_vendor_accepts_every_model_as_the_registry_spells_it(
    simulator: Simulator, model: str, offer: Offer
) -> None:
    for name in ("openai", "openrouter", "google_ai"):
        simulator.configure(**{name: {"today": TODAY.isoformat()}})
    vendors: dict[str, ChatProvider] = {
        "openai": OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url),
        "openrouter": openrouter(api_key="k", base_url=simulator.openrouter_url),
        "google_ai": google_chat(api_key="k", base_url=f"{simulator.google_url}/v1beta/openai/"),
    }

    async def run() -> ModelAnswer:
        gateway = Gateway(REGISTRY, {offer.provider: vendors[offer.provider]}, gate=LocalGate(), today=lambda: TODAY)
        try:
            return await gateway.complete(ModelCall(model, "hello", config={"temperature": 0.2}), FakeLedger())
        finally:
            await gateway.close()

    answer = asyncio.run(run())

    assert (answer.provider, answer.text != "") == (offer.provider, True)


@pytest.mark.parametrize("model", sorted(name for name, one in REGISTRY.models.items() if one.kind != "chat"))
def test_what_does_not_answer_in_text_is_not_asked_for_text(simulator: Simulator, model: str) -> None:
    with pytest.raises(PersistentError, match="Nothing serves"):
        ask(simulator, ModelCall(model, "hello"))

    assert simulator.count() == 0


def test_a_model_that_is_gone_is_followed_by_its_fallback(simulator: Simulator) -> None:
    simulator.configure(openai={"retired": ["gpt-6-sol"]})

    answer = ask(simulator, ModelCall("thinking_ai", "hello"))

    assert (answer.model, answer.vendor_model) == ("medium_ai", "gpt-6-luna")
    assert [entry["body"]["model"] for entry in simulator.log(CHAT)] == ["gpt-6-sol", "gpt-6-luna"]


def test_a_refused_key_is_shown_once_along_the_whole_route(simulator: Simulator) -> None:
    simulator.fault(CHAT, status=401, body={"error": {"message": "no", "code": "invalid_api_key"}}, times=None)

    with pytest.raises(PersistentError) as caught:
        ask(simulator, ModelCall("thinking_ai", "hello"))

    assert caught.value.code == "auth"
    assert simulator.count(CHAT) == 1


def test_a_used_up_quota_is_not_asked_again(simulator: Simulator) -> None:
    error = {"error": {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}}
    simulator.fault(CHAT, status=429, body=error, times=None)

    with pytest.raises(PersistentError) as caught:
        ask(simulator, ModelCall("thinking_ai", "hello"))

    assert caught.value.code == "quota"
    assert simulator.count(CHAT) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "sent"),
    [
        ({"status": 429}, TransientError, False),
        ({"status": 500}, TransientError, False),
        ({"status": 529}, TransientError, False),
        ({"status": 503, "body": "<html>busy</html>"}, TransientError, False),
        ({"status": 400}, PersistentError, False),
        ({"status": 413}, PersistentError, False),
        ({"drop": "before"}, TransientError, True),
        ({"drop": "after"}, TransientError, True),
        ({"drop": "during"}, TransientError, True),
        ({"delay_s": 2}, ResourceError, True),
        ({"status": 200, "body": "<html>welcome</html>"}, TransientError, True),
        ({"status": 200, "body": "[1, 2]"}, TransientError, True),
        ({"status": 200, "body": {"choices": []}}, TransientError, True),
        ({"status": 200, "body": {"choices": [], "error": {"code": 502, "message": "host"}}}, TransientError, False),
        ({"status": 200, "body": {"choices": [], "error": {"code": 402, "message": "pay"}}}, PersistentError, False),
        (
            {
                "status": 200,
                "body": {
                    "choices": [{"finish_reason": "error", "message": {"content": "half"}}],
                    "error": {"code": 502},
                },
            },
            TransientError,
            True,
        ),
        (
            {"status": 200, "body": {"choices": [{"finish_reason": "error", "message": {"content": "half"}}]}},
            TransientError,
            True,
        ),
        ({"status": 200, "body": {"choices": [{"error": {"code": 403, "message": "flagged"}}]}}, PersistentError, True),
    ],
)
def test_each_fault_becomes_its_class_after_one_request(
    simulator: Simulator, fault: dict[str, Any], kind: type[StepError], *, sent: bool
) -> None:
    simulator.fault(CHAT, times=None, **fault)

    error = fail(simulator, replace(ASKED, timeout_s=0.5 if "delay_s" in fault else 10))

    assert (type(error), error.details["sent"]) == (kind, sent)
    assert simulator.count(CHAT) == 1


@pytest.mark.parametrize(("asked", "seconds"), [({"retry_after": 7}, 7.0), ({"retry_after_ms": 250}, 0.25), ({}, None)])
def test_the_wait_a_vendor_asks_for_is_handed_on(
    simulator: Simulator, asked: dict[str, Any], seconds: float | None
) -> None:
    simulator.fault(CHAT, status=429, **asked)

    assert fail(simulator).retry_after_s == seconds


def test_a_server_that_is_not_there_was_sent_nothing(simulator: Simulator) -> None:
    error = fail(simulator, base="http://127.0.0.1:1/v1")

    assert (type(error), error.code, error.details["sent"]) == (TransientError, "network", False)
    assert "127.0.0.1" not in str(error)


def test_a_vendor_that_counts_nothing_is_guessed_at_and_marked(simulator: Simulator) -> None:
    body = {"choices": [{"message": {"content": "four words of answer"}, "finish_reason": "stop"}]}
    simulator.fault(CHAT, status=200, body=body)

    usage = send(simulator).usage

    assert usage.estimated
    assert (usage.input_tokens, usage.output_tokens) == (2, 5)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10**15, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 9 * 10**18},
        {"prompt_tokens": -5, "completion_tokens": 5},
    ],
)
def test_a_count_that_no_model_can_reach_is_not_believed(simulator: Simulator, usage: dict[str, int]) -> None:
    simulator.answer(content="four words of answer", usage=usage)

    read = send(simulator).usage

    assert read.estimated
    assert (read.input_tokens, read.output_tokens) == (2, 5)


@pytest.mark.parametrize("details", [{"cached_tokens": 10**17}, {"cache_write_tokens": 10**30}])
def test_a_share_that_no_model_can_reach_is_not_believed(simulator: Simulator, details: dict[str, int]) -> None:
    simulator.answer(content="x", usage={"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": details})

    read = send(simulator).usage

    assert (read.prompt_tokens, read.output_tokens, read.estimated) == (7, 5, False)


def test_text_that_no_wire_can_carry_is_our_own_fault(simulator: Simulator) -> None:
    error = fail(simulator, replace(ASKED, messages=({"role": "user", "content": "\ud800"},)))

    assert type(error) is FatalError
    assert simulator.count(CHAT) == 0


def test_one_client_serves_hundreds_at_once(simulator: Simulator) -> None:
    simulator.configure(answers={"latency_s": 1.0})

    async def run() -> None:
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        try:
            await asyncio.gather(*(provider.complete(replace(ASKED, timeout_s=30)) for _ in range(300)))
        finally:
            await provider.close()

    asyncio.run(run())

    begun = [(entry["at"], 1) for entry in simulator.log(CHAT)]
    ended = [(entry["at"] + entry["duration_s"], -1) for entry in simulator.log(CHAT)]
    open_at_once = accumulate(change for _, change in sorted(begun + ended))
    # The transport's own limit of connections is 100, and is what it falls back to without a number.
    assert max(open_at_once) > 150


def test_a_client_made_on_one_loop_is_made_anew_on_another(simulator: Simulator) -> None:
    provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)

    async def run() -> str:
        try:
            return (await provider.complete(ASKED)).text
        finally:
            await provider.close()

    assert asyncio.run(run()) == asyncio.run(run())


def test_a_step_that_is_stopped_leaves_its_call_unknown(simulator: Simulator) -> None:
    simulator.fault(CHAT, delay_s=2)
    ledger = FakeLedger()

    async def run() -> None:
        provider = OpenAICompatible(name="openai", api_key="k", base_url=simulator.openai_url)
        registry = read_registry(ROOT / "orchestration_config.json")
        gateway = Gateway(registry, {"openai": provider}, gate=LocalGate(), today=lambda: TODAY)
        try:
            async with asyncio.timeout(0.3):
                await gateway.complete(ModelCall("fast_ai", "hello"), ledger)
        finally:
            await gateway.close()

    with pytest.raises(TimeoutError):
        asyncio.run(run())

    assert [row.status for row in ledger.rows] == ["unknown"]
