"""What Anthropic answered, in our words: a message that came whole, or its events put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.gateway.model import ChatAnswer, ChatRequest, Usage
from app.gateway.prices import guess_tokens
from app.providers import figures
from app.providers.anthropic_errors import from_body
from app.providers.anthropic_turns import hang_turn
from app.providers.failures import cut_short, unreadable
from app.providers.reading import read_answer_json, read_inner, read_json

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
NO_REASON = "it declined to answer"


def read_answer(content: bytes, request: ChatRequest) -> ChatAnswer:
    """Read a 2xx body.

    Raises:
        StepError: an error inside it, or not the wire's JSON.
    """
    return read_message(read_answer_json(content, request.provider), request)


def read_message(body: Any, request: ChatRequest) -> ChatAnswer:
    """Read a message.

    Returns:
        An answer without text and calls when a tool's input is no object: it was paid for and cannot be used.

    Raises:
        StepError: an error in its place, or not the wire's object.
    """
    if not isinstance(body, dict):
        raise unreadable(request.provider, "no JSON object")
    if body.get("type") == "error":
        raise from_body(request.provider, body)
    content = body.get("content")
    if not isinstance(content, list):
        raise unreadable(request.provider, "no content")
    # Thinking may come first, so that the place of a block says nothing about it.
    blocks = [block for block in content if isinstance(block, dict)]
    text = "".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text")
    stop = str(body.get("stop_reason") or "end_turn")
    finish_reason = FINISH_REASONS.get(stop, stop)
    calls = _tool_calls(blocks, request, cut=finish_reason == "length")
    return ChatAnswer(
        text="" if calls is None else text,
        finish_reason=finish_reason,
        model=str(body.get("model") or request.model),
        vendor_id=str(body.get("id") or ""),
        usage=_usage(body.get("usage"), request, text),
        refusal=_refusal(body) if stop == "refusal" else "",
        tool_calls=calls or (),
    )


def _refusal(body: Mapping[str, Any]) -> str:
    details = read_inner(body, "stop_details")
    return str(details.get("explanation") or details.get("category") or NO_REASON)


def _tool_calls(blocks: list[dict[str, Any]], request: ChatRequest, *, cut: bool) -> tuple[dict[str, Any], ...] | None:
    """Read what is asked to be done; None when one of the calls cannot be read.

    A call at the very end of an answer that was cut off may lack half its input, and is left out.
    """
    if cut and blocks and blocks[-1].get("type") == "tool_use":
        blocks = blocks[:-1]
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    if any(not isinstance(call.get("input"), dict) or not call.get("name") for call in calls):
        return None
    read: list[dict[str, Any]] = [
        {"id": str(call.get("id")), "name": str(call["name"]), "input": call["input"]} for call in calls
    ]
    hang_turn(read, blocks, request)
    return tuple(read)


def _usage(raw: Any, request: ChatRequest, text: str) -> Usage:
    """Read usage. The wire's four kinds of input do not overlap, as ours; its output includes the thinking."""
    if not isinstance(raw, dict) or not figures.are_counted(raw.get("input_tokens"), raw.get("output_tokens")):
        prompt = sum(guess_tokens(_text_of(message["content"])) for message in request.messages)
        return Usage(input_tokens=prompt, output_tokens=guess_tokens(text), estimated=True)
    written = _count(raw, "cache_creation_input_tokens")
    for_an_hour = min(written, _count(read_inner(raw, "cache_creation"), "ephemeral_1h_input_tokens"))
    return Usage(
        input_tokens=_count(raw, "input_tokens"),
        output_tokens=_count(raw, "output_tokens"),
        cache_read_tokens=_count(raw, "cache_read_input_tokens"),
        cache_write_5m_tokens=written - for_an_hour,
        cache_write_1h_tokens=for_an_hour,
        reasoning_tokens=_count(read_inner(raw, "output_tokens_details"), "thinking_tokens"),
    )


def _text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(str(part.get("text") or "") for part in content)


def _count(raw: Mapping[str, Any], key: str) -> int:
    return figures.count_of(raw.get(key))


class Pieces:
    """The events of one answer, put together as the message it would have been in one piece."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._message: dict[str, Any] | None = None
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._written: dict[Any, list[str]] = {}
        self._ended = False

    def add(self, event: Any) -> str:
        """Take an event; give its piece of the text, empty when it has none.

        Raises:
            StepError: the event is not the wire's.
        """
        try:
            return self._add(event)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise unreadable(self._provider, "an event that is none of its stream") from error

    def _add(self, event: Mapping[str, Any]) -> str:
        kind = event["type"]
        if kind == "message_start":
            self._message = dict(event["message"])
        elif kind == "content_block_start":
            self._blocks[event["index"]] = dict(event["content_block"])
            self._written[event["index"]] = []
        elif kind == "content_block_delta":
            return self._extend(event["index"], event["delta"])
        elif kind == "content_block_stop":
            self._close(event["index"])
        elif kind == "message_delta":
            self._conclude(event)
        elif kind == "message_stop":
            self._ended = True
        return ""

    def _extend(self, index: Any, delta: Mapping[str, Any]) -> str:
        if delta["type"] == "text_delta":
            piece: str = delta["text"]
            self._written[index].append(piece)
            return piece
        if delta["type"] == "input_json_delta":
            self._written[index].append(delta["partial_json"])
        elif delta["type"] == "thinking_delta":
            self._written[index].append(delta["thinking"])
        elif delta["type"] == "signature_delta":
            self._blocks[index]["signature"] = delta["signature"]
        return ""

    def _close(self, index: Any) -> None:
        block, written = self._blocks[index], "".join(self._written[index])
        if block["type"] in {"text", "thinking"}:
            block[block["type"]] = block.get(block["type"], "") + written
        elif block["type"] == "tool_use" and written:
            block["input"] = _read_input(written)

    def _conclude(self, event: Mapping[str, Any]) -> None:
        message = self._begun()
        message.update(event["delta"])
        # Its counts are the whole answer's so far; what it does not count again stands as it was at the start.
        counted = {key: count for key, count in (event.get("usage") or {}).items() if count is not None}
        message["usage"] = {**message.get("usage", {}), **counted}

    @property
    def begun(self) -> bool:
        """Whether the vendor began to answer, and so to count."""
        return self._message is not None

    def _begun(self) -> dict[str, Any]:
        if self._message is None:
            raise cut_short(self._provider, begun=False)
        return self._message

    def message(self) -> dict[str, Any]:
        """Give the message.

        Raises:
            StepError: the stream ended before it did.
        """
        if not self._ended:
            raise cut_short(self._provider, begun=self.begun)
        return {**self._begun(), "content": [self._blocks[index] for index in sorted(self._blocks)]}


def _read_input(written: str) -> Any:
    """Read a tool's input; None when it is no JSON, as where an answer was cut off in it."""
    try:
        return read_json(written)
    except (ValueError, RecursionError):
        return None
