"""Make the message that answers a request, and the events it comes in when it is streamed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.answers import Answer, count_tokens, plain_answer
from simulator.anthropic_thinking import signature_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulator.anthropic_account import AnthropicAccount
    from simulator.anthropic_cache import Count
    from simulator.anthropic_models import ModelFacts

THOUGHT_TOKENS = {"low": 16, "medium": 64, "high": 256, "xhigh": 512, "max": 1024}
"""What thinking uses up before the first word, by effort."""
PIECE_CHARACTERS = 12


@dataclass(frozen=True)
class Said:
    """An answer cut to its limit."""

    content: list[dict[str, Any]]
    stop_reason: str
    output_tokens: int
    thinking_tokens: int


def plain(body: Mapping[str, Any]) -> Answer:
    """Say something that depends on the request alone."""
    wanted = (body.get("output_config") or {}).get("format")
    schema = wanted["schema"] if wanted else None
    return Answer(content=plain_answer(_last_text(body), schema))


def _last_text(body: Mapping[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(str(block.get("text") or f"[{block['type']}]") for block in content)


def say(answer: Answer, body: Mapping[str, Any], facts: ModelFacts, account: AnthropicAccount) -> Said:
    """Think, speak, ask for tools, and stop at `max_tokens`: thinking counts towards it."""
    most = body["max_tokens"]
    thought = min(_thought_tokens(body, facts), most)
    content: list[dict[str, Any]] = []
    if thought or answer.thinking:
        content.append({"type": "thinking", "thinking": answer.thinking, "signature": signature_of(body)})
    text = answer.text[: max(0, most - thought) * 4]
    if text:
        content.append({"type": "text", "text": text})
    content += [
        {
            "type": "tool_use",
            "id": call.get("id") or account.name("toolu"),
            "name": call["name"],
            "input": call["input"],
        }
        for call in answer.tool_calls
    ]
    written = sum(count_tokens(_shown(block)) for block in content if block["type"] != "thinking")
    stop = _stop_reason(answer, cut=most == thought or text != answer.text)
    return Said(content, stop, min(most, thought + written), thought)


def _thought_tokens(body: Mapping[str, Any], facts: ModelFacts) -> int:
    kind = (body.get("thinking") or {}).get("type") or ("adaptive" if facts.default_effort else "disabled")
    if kind in {"disabled", "between_tools"}:
        return 0
    effort = (body.get("output_config") or {}).get("effort") or facts.default_effort or "medium"
    return THOUGHT_TOKENS[effort]


def _shown(block: Mapping[str, Any]) -> str:
    return str(block["text"]) if block["type"] == "text" else json.dumps(block["input"])


def _stop_reason(answer: Answer, *, cut: bool) -> str:
    if cut:
        return "max_tokens"
    if answer.finish_reason != "stop":
        return answer.finish_reason
    return "tool_use" if answer.tool_calls else "end_turn"


def message_of(
    said: Said, answer: Answer, body: Mapping[str, Any], count: Count, account: AnthropicAccount, tier: str = "standard"
) -> dict[str, Any]:
    """Write the message as the wire does."""
    return {
        "id": account.name("msg"),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": said.content,
        "stop_reason": said.stop_reason,
        "stop_sequence": None,
        "stop_details": _stop_details(said, answer),
        "usage": {**_usage(said, count, tier), **answer.usage},
    }


def _stop_details(said: Said, answer: Answer) -> dict[str, Any] | None:
    if said.stop_reason != "refusal":
        return None
    return {"type": "refusal", "category": "general_harms", "explanation": answer.refusal or None}


def _usage(said: Said, count: Count, tier: str) -> dict[str, Any]:
    return {
        "input_tokens": count.input,
        "cache_creation_input_tokens": count.write_5m + count.write_1h,
        "cache_read_input_tokens": count.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": count.write_5m,
            "ephemeral_1h_input_tokens": count.write_1h,
        },
        "output_tokens": said.output_tokens,
        "output_tokens_details": {"thinking_tokens": said.thinking_tokens},
        "server_tool_use": None,
        "service_tier": tier,
        "speed": "standard",
        "inference_geo": None,
    }


def events_of(message: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Break a message into the events of a stream, in order; each is a name and its data."""
    usage = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "stop_details": None}
    begun["usage"] = {**usage, "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 0}}
    yield "message_start", {"type": "message_start", "message": begun}
    yield "ping", {"type": "ping"}
    for index, block in enumerate(message["content"]):
        start, deltas = _pieces(block)
        yield (
            "content_block_start",
            {"type": "content_block_start", "index": index, "content_block": start},
        )
        for delta in deltas:
            yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    ended = {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}
    # The last word on usage is cumulative, and does not say again how the cache was written.
    counted = {key: value for key, value in usage.items() if key != "cache_creation"}
    yield "message_delta", {"type": "message_delta", "delta": ended, "usage": counted}
    yield "message_stop", {"type": "message_stop"}


def _pieces(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give a block as it starts, and what is added to it."""
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": one} for one in _cut(block["text"])]
    if block["type"] == "thinking":
        deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": one} for one in _cut(block["thinking"])]
        return {"type": "thinking", "thinking": "", "signature": ""}, [
            *deltas,
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    written = json.dumps(block["input"]) if block["input"] else ""
    deltas = [{"type": "input_json_delta", "partial_json": one} for one in ["", *_cut(written)]]
    return {**block, "input": {}}, deltas


def _cut(text: str) -> list[str]:
    return [text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)]
