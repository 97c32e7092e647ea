"""Chat completions of the simulated servers: what is said, what it used up, whole or in pieces."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.answers import CHARACTERS_A_TOKEN, Answer, AnswerBook, count_tokens, plain_answer
from simulator.openai_account import GOOGLE_WIRE, OPENAI_WIRE, OPENROUTER_WIRE, OpenAIAccount, Wire
from simulator.openai_refusals import Refusal
from simulator.openai_rules import check_chat
from simulator.openai_stream import stream_completion, written

if TYPE_CHECKING:
    from simulator.openai_models import ModelFacts

MILLION = 1_000_000
SIGNATURE = "c2lnbmVk"


async def answer_chat(request: web.Request, wire: Wire, account: OpenAIAccount, book: AnswerBook) -> web.StreamResponse:
    """Answer one chat."""
    completion = complete(request["body"], wire, account, book)
    if book.latency_s:
        await asyncio.sleep(book.latency_s)
    if request["body"].get("stream"):
        return await stream_completion(request, wire, completion)
    return json_answer(completion, account)


def json_answer(body: Any, account: OpenAIAccount) -> web.Response:
    """Write a 200."""
    headers = {"Content-Type": "application/json", "x-request-id": account.name("req_")}
    return web.Response(body=written(body), headers=headers)


def complete(body: Any, wire: Wire, account: OpenAIAccount, book: AnswerBook) -> dict[str, Any]:
    """Make the completion of one request.

    Raises:
        Refusal: the vendor would refuse it.
    """
    model = check_chat(body, wire, account, book.retired)
    prompt = _prompt(body)
    facts = wire.models.get(model)
    most = account.context_tokens or (facts.context if facts is not None else 0)
    if most and count_tokens(prompt) > most:
        message = f"This model's maximum context length is {most} tokens, your messages resulted in more."
        raise Refusal(400, message, code="context_length_exceeded", param="messages")
    answer = (book.take(body["model"], json.dumps(body["messages"])) if book.answers else None) or _plain(body)
    text, finish_reason = _cut(answer, body, account)
    cached = account.cache.read(model, prompt, account.now()) if wire in {OPENAI_WIRE, OPENROUTER_WIRE} else 0
    usage = _usage(prompt, text, cached, answer)
    if wire is OPENROUTER_WIRE:
        usage = _priced(usage, facts, account)
    return {
        "id": account.name("chatcmpl-" if wire is not OPENROUTER_WIRE else "gen-"),
        "object": "chat.completion",
        "created": int(account.now()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": _message(answer, text, wire, account),
                "finish_reason": finish_reason,
                "logprobs": None,
            }
        ],
        "usage": usage,
    }


def _plain(body: dict[str, Any]) -> Answer:
    schema = None
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        schema = response_format["json_schema"].get("schema")
    elif response_format.get("type") == "json_object":
        return Answer(content="{}")
    return Answer(content=plain_answer(_text(body["messages"][-1]), schema))


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "[image]") for part in content)


def _prompt(body: dict[str, Any]) -> str:
    """Put together what the model reads, tools first, as they are cached."""
    tools = json.dumps(body["tools"]) if body.get("tools") else ""
    calls = [json.dumps(message["tool_calls"]) for message in body["messages"] if message.get("tool_calls")]
    return "\n".join([*([tools] if tools else []), *map(_text, body["messages"]), *calls])


def _cut(answer: Answer, body: dict[str, Any], account: OpenAIAccount) -> tuple[str, str]:
    """End an answer where the request's limit says, when the test wants that."""
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    text, reason = answer.text, "tool_calls" if answer.tool_calls else answer.finish_reason
    if answer.tool_calls and answer.finish_reason != "stop":
        reason = answer.finish_reason
    if not account.cut_at_max_tokens or not most or count_tokens(text) <= most:
        return text, reason
    return text[: most * CHARACTERS_A_TOKEN], "length"


def _message(answer: Answer, text: str, wire: Wire, account: OpenAIAccount) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if answer.refusal:
        return {**message, "content": None, "refusal": answer.refusal}
    if answer.tool_calls:
        calls = [_call(call, account) for call in answer.tool_calls]
        if wire is GOOGLE_WIRE:  # signs the first
            calls[0]["extra_content"] = {"google": {"thought_signature": SIGNATURE}}
        return {**message, "content": text or None, "tool_calls": calls}
    return message


def _call(raw: dict[str, Any], account: OpenAIAccount) -> dict[str, Any]:
    """Write a call that was scripted in the wire's own form, or as a name with an input."""
    function = raw.get("function") or {"name": raw["name"], "arguments": json.dumps(raw["input"])}
    return {"id": raw.get("id") or account.name("call_"), "type": "function", "function": function}


def _usage(prompt: str, text: str, cached: int, answer: Answer) -> dict[str, Any]:
    said = text + "".join(json.dumps(call) for call in answer.tool_calls)
    usage: dict[str, Any] = {
        "prompt_tokens": max(cached, count_tokens(prompt)),
        "completion_tokens": count_tokens(said),
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        **answer.usage,
    }
    return {"total_tokens": usage["prompt_tokens"] + usage["completion_tokens"], **usage}


def _priced(usage: dict[str, Any], facts: ModelFacts | None, account: OpenAIAccount) -> dict[str, Any]:
    """Say what it cost, as OpenRouter does."""
    asked, said, from_cache = facts.dollars if facts is not None else (0.0, 0.0, 0.0)
    cached = usage["prompt_tokens_details"].get("cached_tokens", 0)
    anew = usage["prompt_tokens"] - cached
    dollars = (anew * asked + cached * from_cache + usage["completion_tokens"] * said) / MILLION
    cost = round(dollars, 10)
    priced = {"cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": cost}, **usage}
    account.cost_usd += float(priced["cost"])
    return priced
