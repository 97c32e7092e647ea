"""Turn a call into a request for one target, and check a call's config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.gateway.model import ChatRequest, ModelCall
from app.gateway.registry import Target
from app.gateway.structured import schema_problem

MOST_TOKENS = 1_000_000
SAMPLING_RANGES = {"temperature": (0.0, 2.0), "top_p": (0.0, 1.0)}


def config_problems(config: Mapping[str, Any]) -> dict[str, str]:
    """Say what in a task's config the gateway cannot use, by key. Keys that are not the gateway's are left alone."""
    problems = {}
    for name, (low, high) in SAMPLING_RANGES.items():
        value = config.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        ):
            problems[name] = f"must be a number from {low:g} to {high:g}"
    tokens = config.get("max_tokens")
    if tokens is not None and (
        isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= MOST_TOKENS
    ):
        problems["max_tokens"] = f"must be a whole number from 1 to {MOST_TOKENS}"
    if config.get("response_schema") is not None:
        problem = schema_problem(config["response_schema"])
        if problem:
            problems["response_schema"] = problem
    return problems


def render_request(call: ModelCall, target: Target) -> ChatRequest:
    """Write a call for one target; the task's config wins over the model's defaults."""
    model, offer = target.logical, target.offer
    return ChatRequest(
        provider=offer.provider,
        model=offer.model,
        logical=model.name,
        messages=_messages(call),
        max_tokens=call.config.get("max_tokens") or model.max_tokens,
        temperature=_chosen(call.config, "temperature", model.temperature) if offer.sampling else None,
        top_p=_chosen(call.config, "top_p", model.top_p) if offer.sampling else None,
        response_schema=call.config.get("response_schema"),
        tools=call.tools,
        extra=offer.extra,
        max_tokens_field=offer.max_tokens_field,
        timeout_s=call.timeout_s,
    )


def _chosen(config: Mapping[str, Any], name: str, default: float | None) -> float | None:
    value = config.get(name)
    return default if value is None else float(value)


def _messages(call: ModelCall) -> tuple[Mapping[str, Any], ...]:
    system = [{"role": "system", "content": "\n\n".join(call.system)}] if call.system else []
    asked: Any = call.prompt
    if call.images:
        asked = [{"type": "text", "text": call.prompt}, *({"type": "image", "url": url} for url in call.images)]
    return (*system, *call.history, {"role": "user", "content": asked})


def render_repair(request: ChatRequest, said: str, complaint: str) -> ChatRequest:
    """Ask again: the same conversation, what was said, and what is wrong with it."""
    wanted = (
        "Answer again with the corrected JSON and nothing else."
        if request.response_schema is not None
        else "Answer again."
    )
    repair = (
        {"role": "assistant", "content": said or "(nothing)"},
        {"role": "user", "content": f"That answer cannot be used: {complaint}. {wanted}"},
    )
    return replace(request, messages=(*request.messages, *repair))
