"""What a vendor answered on OpenAI's wire, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.gateway.model import ChatAnswer, ChatRequest, Usage
from app.gateway.prices import guess_tokens
from app.providers import figures
from app.providers.failures import error_object, unreadable
from app.providers.openai_errors import from_body
from app.providers.reading import read_answer_json, read_inner, read_json

CALL_EXTRAS = ("extra_content",)
"""What vendors hang on a call of a tool and want back with it: Google's signature of the thought behind it."""


def read_answer(content: bytes, request: ChatRequest) -> ChatAnswer:
    """Read a 2xx body.

    Raises:
        StepError: an error inside it, or not the wire's JSON.
    """
    return read_body(read_answer_json(content, request.provider), request)


def read_body(body: Any, request: ChatRequest) -> ChatAnswer:
    """Read the object of a completed answer.

    Returns:
        An answer without text and calls when a call's arguments are no JSON: it was paid for and cannot be used.

    Raises:
        StepError: an error inside it, or not the wire's object.
    """
    if isinstance(body, list) and error_object(body):  # Google wraps errors in a list
        body = body[0]
    if not isinstance(body, dict):
        raise unreadable(request.provider, "no JSON object")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    error_inside = _error_inside(body, choice)
    if error_inside is not None:
        raise from_body(request.provider, error_inside, begun=bool(choice))
    message = choice.get("message")
    if not isinstance(message, dict):
        raise unreadable(request.provider, "no choices")
    text, asked = text_of(message.get("content")), message.get("tool_calls") or ()
    calls = _read_calls(asked, request.provider)
    finish_reason = str(choice.get("finish_reason") or "stop")
    if asked and finish_reason == "stop":  # Google's word for it while it streams
        finish_reason = "tool_calls"
    return ChatAnswer(
        text="" if calls is None else text,
        finish_reason=finish_reason,
        model=str(body.get("model") or request.model),
        vendor_id=str(body.get("id") or ""),
        usage=_read_usage(body.get("usage"), request, text),
        refusal=str(message.get("refusal") or ""),
        tool_calls=calls or (),
    )


def _error_inside(body: Mapping[str, Any], choice: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the error of a 200: beside empty choices, within the choice, or only as its finish reason."""
    found = body.get("error") or choice.get("error")
    if not found and choice.get("finish_reason") != "error":
        return None
    return found if isinstance(found, Mapping) else {"message": str(found or "the model failed while it answered")}


def text_of(content: Any) -> str:
    """Give the text of a message's content, whether it is one or comes in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _read_calls(asked: Any, provider: str) -> tuple[Mapping[str, Any], ...] | None:
    """Read what the model asks to be done; None when one of the calls cannot be read."""
    calls = []
    for number, raw in enumerate(asked if isinstance(asked, list) else []):
        function = raw.get("function") if isinstance(raw, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            return None
        given = _read_arguments(function.get("arguments"))
        if given is None:
            return None
        extra = {key: raw[key] for key in CALL_EXTRAS if raw.get(key)}
        call = {"id": str(raw.get("id") or f"call_{number}"), "name": function["name"], "input": given}
        calls.append({**call, "extra": {provider: extra}} if extra else call)
    return tuple(calls)


def _read_arguments(raw: Any) -> dict[str, Any] | None:
    if isinstance(raw, dict):  # some servers of one's own do not write them as text
        return raw
    try:
        given = read_json(raw) if raw else {}
    except (ValueError, TypeError, RecursionError):
        return None
    return given if isinstance(given, dict) else None


def _read_usage(raw: Any, request: ChatRequest, text: str) -> Usage:
    """Read usage. The wire's prompt tokens include cached ones; ours do not overlap.

    Some vendors leave what was thought out of the completion's tokens, and charge for it as for the rest: Google's
    endpoint is one. It shows in the total.
    """
    if not isinstance(raw, dict) or not figures.are_counted(raw.get("prompt_tokens"), raw.get("completion_tokens")):
        prompt = sum(guess_tokens(text_of(message.get("content"))) for message in request.messages)
        return Usage(input_tokens=prompt, output_tokens=guess_tokens(text), estimated=True)
    prompt_details = read_inner(raw, "prompt_tokens_details")
    output_details = read_inner(raw, "completion_tokens_details")
    read, written = _count(prompt_details, "cached_tokens"), _count(prompt_details, "cache_write_tokens")
    prompt, said = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    unsaid = max(0, _count(raw, "total_tokens") - prompt - said) if prompt else 0
    return Usage(
        input_tokens=max(0, prompt - read - written),
        output_tokens=said + unsaid,
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
        reasoning_tokens=max(unsaid, _count(output_details, "reasoning_tokens")),
        vendor_cost_usd=_vendor_cost_usd(raw),
    )


def _count(raw: Mapping[str, Any], key: str) -> int:
    return figures.count_of(raw.get(key))


def _vendor_cost_usd(raw: Mapping[str, Any]) -> Decimal | None:
    """Read what OpenRouter charged; with a host's key of one's own, that host's bill comes on top of its fee."""
    charged = figures.dollars_of(raw.get("cost"))
    if charged is None or raw.get("is_byok") is not True:
        return charged
    return charged + (figures.dollars_of(read_inner(raw, "cost_details").get("upstream_inference_cost")) or Decimal(0))
