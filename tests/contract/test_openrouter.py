"""OpenRouter's ways with OpenAI's wire: who we are, what it cost, whom to ask, and how it refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import requests

from app.errors import PersistentError, StepError, TransientError
from app.gateway.fakes import FakeLedger, LocalGate
from app.gateway.model import Blame, ChatAnswer, ChatRequest, ModelAnswer, ModelCall
from app.gateway.registry_file import read_registry
from app.gateway.service import Gateway
from app.providers.openrouter import openrouter
from app.schema import ROOT
from simulator import Simulator

CHAT = "/openrouter/api/v1/chat/completions"
ASKED = ChatRequest(
    "openrouter", "moonshotai/kimi-k2.6", "thinking_ai", ({"role": "user", "content": "hello"},), 100, timeout_s=5
)


def send(simulator: Simulator, request: ChatRequest = ASKED, *, streamed: bool = False, **options: Any) -> ChatAnswer:
    async def run() -> ChatAnswer:
        provider = openrouter(**{"api_key": "k", "base_url": simulator.openrouter_url, **options})
        try:
            return await provider.complete(request, (lambda _piece: None) if streamed else None)
        finally:
            await provider.close()

    return asyncio.run(run())


def fail(simulator: Simulator, request: ChatRequest = ASKED, **options: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        send(simulator, request, **options)
    return caught.value


def ask(simulator: Simulator, ledger: FakeLedger) -> ModelAnswer:
    async def run() -> ModelAnswer:
        provider = openrouter(api_key="k", base_url=simulator.openrouter_url)
        gateway = Gateway(read_registry(ROOT / "orchestration_config.json"), {"openrouter": provider}, gate=LocalGate())
        try:
            return await gateway.complete(ModelCall("thinking_ai", "hello"), ledger)
        finally:
            await gateway.close()

    return asyncio.run(run())


def refusal(code: int, message: str, **metadata: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "metadata": metadata}}


def test_it_is_told_who_asks(simulator: Simulator) -> None:
    send(simulator, app_url="https://studio.example", app_title="Studio")
    send(simulator)

    named, plain = (entry["headers"] for entry in simulator.log(CHAT))
    assert (named["http-referer"], named["x-openrouter-title"]) == ("https://studio.example", "Studio")
    assert ("http-referer" in plain, plain["x-openrouter-title"]) == (False, "Batuta")


def test_it_learns_nothing_of_the_account_at_openai(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")

    send(simulator)

    assert "secret" not in str(simulator.log(CHAT)[0]["headers"])


def test_what_the_offer_prefers_travels_as_it_stands(simulator: Simulator) -> None:
    prefers = {
        "provider": {"order": ["groq"], "allow_fallbacks": False, "data_collection": "deny"},
        "models": ["google/gemini-3.8-flash"],
        "reasoning": {"effort": "low"},
    }

    send(simulator, replace(ASKED, extra=prefers))

    body = simulator.log(CHAT)[0]["body"]
    assert {key: body[key] for key in prefers} == prefers


@pytest.mark.parametrize("streamed", [False, True])
def test_each_answer_says_what_it_cost(simulator: Simulator, *, streamed: bool) -> None:
    simulator.answer(content="x", usage={"prompt_tokens": 1000, "completion_tokens": 100})

    cost = send(simulator, streamed=streamed).usage.vendor_cost_usd

    assert cost == (Decimal(1000) * Decimal("0.95") + Decimal(100) * Decimal(4)) / 1_000_000


def test_the_ledger_believes_the_vendor_before_the_table(simulator: Simulator) -> None:
    simulator.answer(content="x", usage={"cost": 0.123456})
    ledger = FakeLedger()

    answer = ask(simulator, ledger)

    assert (answer.cost_usd, ledger.rows[0].cost_usd) == (Decimal("0.123456"), Decimal("0.123456"))


def test_with_a_key_of_one_s_own_at_the_host_its_bill_counts_too(simulator: Simulator) -> None:
    usage = {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}
    simulator.answer(content="x", usage=usage)

    assert send(simulator).usage.vendor_cost_usd == Decimal("0.021")


@pytest.mark.parametrize("cost", [None, "free", True, -1, "nan", 1e12])
def test_a_cost_that_is_none_is_not_believed(simulator: Simulator, cost: Any) -> None:
    simulator.fault(
        CHAT,
        status=200,
        body={"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1, "cost": cost}},
    )

    assert send(simulator).usage.vendor_cost_usd is None


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "blame"),
    [
        (400, refusal(400, "x is not a valid model ID"), PersistentError, "model_gone", Blame.RETIRED),
        (400, refusal(400, "messages is required"), PersistentError, "http_400", Blame.NONE),
        (401, refusal(401, "User not found."), PersistentError, "auth", Blame.PROVIDER),
        (402, refusal(402, "pay", limit_source="openrouter_credits"), PersistentError, "quota", Blame.PROVIDER),
        (403, refusal(403, "flagged", reasons=["x"], flagged_input="y"), PersistentError, "refused", Blame.NONE),
        (403, refusal(403, "Only admins may do this."), PersistentError, "http_403", Blame.NONE),
        (404, refusal(404, "No endpoints found for x."), PersistentError, "model_gone", Blame.RETIRED),
        (408, refusal(408, "timed out"), TransientError, "provider_unavailable", Blame.MODEL),
        (429, refusal(429, "slow"), TransientError, "rate_limited", Blame.MODEL),
        (502, refusal(502, "host down", raw="oom"), TransientError, "provider_unavailable", Blame.MODEL),
        (503, refusal(503, "no host fits"), TransientError, "provider_unavailable", Blame.MODEL),
    ],
)
def test_each_refusal_has_its_class_and_is_met_once(
    simulator: Simulator,
    status: int,
    body: dict[str, Any],
    kind: type[StepError],
    code: str,
    blame: Blame,
    *,
    streamed: bool,
) -> None:
    simulator.fault(CHAT, status=status, body=body, times=None)

    error = fail(simulator, streamed=streamed)

    assert (type(error), error.code, error.details["blame"], error.details["sent"]) == (kind, code, blame, False)
    assert simulator.count(CHAT) == 1


def test_which_limit_was_reached_is_told(simulator: Simulator) -> None:
    simulator.configure(openrouter={"exhausted": True})

    error = fail(simulator)

    assert (error.code, error.details["limit_source"]) == ("quota", "openrouter_credits")


def test_the_host_s_own_words_are_told(simulator: Simulator) -> None:
    simulator.fault(CHAT, status=502, body=refusal(502, "Provider returned error", raw="CUDA out of memory"))

    assert "Provider returned error (CUDA out of memory)" in str(fail(simulator))


@pytest.mark.parametrize(
    ("body", "kind", "code", "sent"),
    [
        ({"choices": [], **refusal(502, "host")}, TransientError, "provider_unavailable", False),
        ({"choices": [], **refusal(402, "pay")}, PersistentError, "quota", False),
        (refusal(429, "slow"), TransientError, "rate_limited", False),
        (
            {"choices": [{"finish_reason": "error", "message": {"content": "half"}}], **refusal(502, "host")},
            TransientError,
            "provider_unavailable",
            True,
        ),
        (
            {"choices": [{"finish_reason": "error", "message": {"content": ""}, "error": {"code": 403}}]},
            PersistentError,
            "http_403",
            True,
        ),
        ({"choices": [], "error": "something"}, TransientError, "provider_unavailable", False),
    ],
)
def test_a_200_with_an_error_inside_is_an_error(
    simulator: Simulator, body: dict[str, Any], kind: type[StepError], code: str, *, sent: bool
) -> None:
    simulator.fault(CHAT, status=200, body=body, times=None)

    error = fail(simulator)

    assert (type(error), error.code, error.details["sent"]) == (kind, code, sent)
    assert simulator.count(CHAT) == 1


def test_white_space_that_keeps_the_line_open_does_not_spoil_an_answer(simulator: Simulator) -> None:
    simulator.fault(CHAT, status=200, body='\n   \n\n {"choices": [{"message": {"content": "ok"}}]}')

    assert send(simulator).text == "ok"


def test_prices_are_told_as_text_in_dollars_a_token_and_credit_by_key(simulator: Simulator) -> None:
    send(simulator)
    models = requests.get(
        f"{simulator.openrouter_url}/models", headers={"Authorization": "Bearer k"}, timeout=5
    ).json()["data"]
    key = requests.get(f"{simulator.openrouter_url}/key", headers={"Authorization": "Bearer k"}, timeout=5).json()[
        "data"
    ]

    kimi = next(model for model in models if model["id"] == ASKED.model)
    assert (Decimal(kimi["pricing"]["prompt"]) * 1_000_000, kimi["context_length"]) == (Decimal("0.95"), 262_144)
    assert isinstance(kimi["pricing"]["completion"], str)
    assert key["usage"] > 0
