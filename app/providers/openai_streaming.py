"""An answer that comes in pieces on OpenAI's wire: gathered, it is read as if it had come whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import openai

from app.errors import StepError
from app.gateway.model import ChatAnswer, ChatRequest
from app.gateway.ports import OnText
from app.providers.failures import cut_short, error_object
from app.providers.openai_answers import CALL_EXTRAS, read_answer, read_body, text_of
from app.providers.openai_connection import OpenAIConnection
from app.providers.openai_errors import from_body, to_step_error

CHAT = "/chat/completions"
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


async def stream_answer(
    connection: OpenAIConnection, request: ChatRequest, body: Mapping[str, Any], on_text: OnText
) -> ChatAnswer:
    """Ask for an answer in pieces, hand each on, and give the whole.

    Args:
        connection: where to.
        request: ours.
        body: the wire's.
        on_text: takes the pieces.

    Raises:
        StepError: as `ChatProvider.complete`.
    """
    pieces = Pieces()
    try:
        async with asyncio.timeout(request.timeout_s):
            async with await connection.open_stream(CHAT, {**body, **STREAMED}, request.timeout_s) as stream:
                return await _follow(stream, request, on_text, pieces)
    except StepError:
        raise
    except Exception as error:  # the SDK's edge: whatever it raises becomes one of our classes
        if type(error) is openai.APIError:  # an error among the events, not one of its subclasses
            raise from_body(request.provider, error_object(error.body), begun=pieces.begun) from error
        raise to_step_error(error, request.provider) from error


async def _follow(stream: openai.AsyncStream[Any], request: ChatRequest, on_text: OnText, pieces: Pieces) -> ChatAnswer:
    if stream.response.headers.get("content-type", "").startswith("application/json"):
        # A server that does not stream says it all at once.
        answer = read_answer(await stream.response.aread(), request)
        if answer.text:
            on_text(answer.text)
        return answer
    async for chunk in stream:
        piece = pieces.add(chunk)
        if piece:
            on_text(piece)
    if not pieces.ended:
        raise cut_short(request.provider, begun=pieces.begun)
    return read_body(pieces.body(), request)


class Pieces:
    """The chunks of one answer, put together as the wire's unstreamed body."""

    def __init__(self) -> None:
        self.begun = False
        self._head: dict[str, Any] = {}
        self._error: Any = None
        self._finish_reason = ""
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._open: dict[Any, dict[str, Any]] = {}

    @property
    def ended(self) -> bool:
        """Whether the answer said that it is whole, or why it is not."""
        return bool(self._finish_reason or self._error)

    def add(self, chunk: Any) -> str:
        """Take a chunk; give its piece of the text, empty when it has none."""
        if isinstance(chunk, list):  # Google's way to wrap an error
            self._error = self._error or error_object(chunk) or None
        if not isinstance(chunk, Mapping):
            return ""
        self._error = self._error or chunk.get("error")
        for key in ("id", "model", "usage"):
            if chunk.get(key):
                self._head[key] = chunk[key]
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        return self._add_choice(choice) if isinstance(choice, Mapping) else ""

    def _add_choice(self, choice: Mapping[str, Any]) -> str:
        self.begun = True
        self._error = self._error or choice.get("error")
        self._finish_reason = str(choice.get("finish_reason") or self._finish_reason)
        delta = choice.get("delta")
        if not isinstance(delta, Mapping):
            return ""
        piece = text_of(delta.get("content"))
        refusal, calls = delta.get("refusal"), delta.get("tool_calls")
        if piece:
            self._text.append(piece)
        if isinstance(refusal, str):
            self._refusal.append(refusal)
        for part in calls if isinstance(calls, list) else ():
            if isinstance(part, Mapping):
                self._add_call(part)
        return piece

    def _add_call(self, part: Mapping[str, Any]) -> None:
        """Take a part of a call. Its index says of which; without one, a new id or name begins another."""
        raw = part.get("function")
        function = raw if isinstance(raw, Mapping) else {}
        place = part.get("index")
        call = self._open.get(place)
        begins = part.get("id") or (place is None and function.get("name"))
        if call is None or (begins and call["id"] and part.get("id") != call["id"]):
            call = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            self._open[place] = call
            self._calls.append(call)
        call["id"] = call["id"] or str(part.get("id") or "")
        call["function"]["name"] = call["function"]["name"] or str(function.get("name") or "")
        call["function"]["arguments"] += str(function.get("arguments") or "")
        call.update({key: part[key] for key in CALL_EXTRAS if part.get(key)})

    def body(self) -> dict[str, Any]:
        """Write what the wire would have answered unstreamed."""
        message: dict[str, Any] = {"content": "".join(self._text), "refusal": "".join(self._refusal)}
        if self._calls:
            message["tool_calls"] = self._calls
        choices = [{"message": message, "finish_reason": self._finish_reason}]
        if not self.begun and self._error:
            choices = []
        return {**self._head, "choices": choices, **({"error": self._error} if self._error else {})}
