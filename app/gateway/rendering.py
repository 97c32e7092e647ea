"""Turn a call into a request for one target, and check a call's config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.gateway.model import ChatRequest, Keep, ModelCall
from app.gateway.registry import Target
from app.gateway.structured import schema_problem

MOST_TOKENS = 1_000_000
LONGEST_LIFE_S = 30 * 86_400
"""Most seconds for which an answer may be kept."""
MOST_MARKS = 4
"""Places up to which a vendor's cache may reach; a fifth is refused."""
SYSTEM_CACHE = "1h"
"""Instructions stay the same from call to call and from run to run."""
HISTORY_CACHE = "5m"
"""A conversation goes on within minutes or hardly at all, and this life costs less to write."""
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
    if not _is_life(config.get("cache")):
        problems["cache"] = f"must be true, false or an object with ttl_s, a whole number from 1 to {LONGEST_LIFE_S}"
    if config.get("response_schema") is not None:
        problem = schema_problem(config["response_schema"])
        if problem:
            problems["response_schema"] = problem
    return problems


def _is_life(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if not isinstance(value, Mapping) or set(value) - {"ttl_s"}:
        return False
    ttl_s = value.get("ttl_s", 1)
    return isinstance(ttl_s, int) and not isinstance(ttl_s, bool) and 1 <= ttl_s <= LONGEST_LIFE_S


def answer_life(config: Mapping[str, Any], owner: str, default_ttl_s: float) -> Keep | None:
    """Say how long a step wishes its answer kept; None when it does not. The config has passed `config_problems`."""
    wish = config.get("cache")
    if not wish and wish != {}:
        return None
    return Keep(owner, wish.get("ttl_s", default_ttl_s) if isinstance(wish, Mapping) else default_ttl_s)


def render_request(call: ModelCall, target: Target) -> ChatRequest:
    """Write a call for one target; the task's config wins over the model's defaults."""
    model, offer = target.logical, target.offer
    return ChatRequest(
        provider=offer.provider,
        model=offer.model,
        logical=model.name,
        messages=_messages(call, marks=offer.cache_marks),
        max_tokens=call.config.get("max_tokens") or model.max_tokens,
        temperature=_chosen(call.config, "temperature", model.temperature) if offer.sampling else None,
        top_p=_chosen(call.config, "top_p", model.top_p) if offer.sampling else None,
        response_schema=call.config.get("response_schema"),
        tools=call.tools,
        extra={**offer.extra, **offer.extra_with_tools} if call.tools else offer.extra,
        max_tokens_field=offer.max_tokens_field,
        timeout_s=call.timeout_s,
    )


def _chosen(config: Mapping[str, Any], name: str, default: float | None) -> float | None:
    value = config.get(name)
    return default if value is None else float(value)


def _messages(call: ModelCall, *, marks: bool) -> tuple[Mapping[str, Any], ...]:
    system: list[Mapping[str, Any]] = []
    if call.system:
        content = _marked_parts(call.system, MOST_MARKS - bool(call.history)) if marks else "\n\n".join(call.system)
        system = [{"role": "system", "content": content}]
    history = _marked_history(call.history) if marks and call.history else call.history
    if not call.prompt and not call.images and history:
        return (*system, *history)  # the history's last message is what is to be answered
    asked: Any = call.prompt
    if call.images:
        asked = [{"type": "text", "text": call.prompt}, *({"type": "image", "url": url} for url in call.images)]
    return (*system, *history, {"role": "user", "content": asked})


def _marked_parts(texts: tuple[str, ...], most: int) -> list[dict[str, Any]]:
    """Mark the ends of the prefixes that calls share: the most lasting ones, and the whole."""
    marked = {*range(most - 1), len(texts) - 1}
    return [
        {"type": "text", "text": text, **({"cache": SYSTEM_CACHE} if place in marked else {})}
        for place, text in enumerate(texts)
    ]


def _marked_history(history: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
    """Mark the last message: the next turn begins with all that is there now."""
    *before, last = history
    content = last.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    place = next((place for place in reversed(range(len(parts))) if parts[place].get("text")), None)
    if place is None:  # an assistant's message that only calls tools
        return history
    parts[place] = {**parts[place], "cache": HISTORY_CACHE}
    return (*before, {**last, "content": parts})


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
