"""Asking Anthropic through the real SDK: what several files of tests share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.gateway.model import ChatAnswer, ChatRequest
from app.gateway.ports import OnText
from simulator import Simulator
from tests.contract.test_chat_providers import ANTHROPIC as WIRE

SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"
EVENT_STREAM = {"Content-Type": "text/event-stream"}
START = (
    'event: message_start\ndata: {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}}\n\n'
)


def system(*parts: tuple[str, str | None]) -> Mapping[str, Any]:
    """Write a system message of texts and the marks behind them."""
    content = [{"type": "text", "text": text, **({"cache": cache} if cache else {})} for text, cache in parts]
    return {"role": "system", "content": content}


def ask(*messages: Mapping[str, Any], model: str = SONNET) -> ChatRequest:
    return WIRE.request(model=model, messages=(*messages, {"role": "user", "content": "hello"}))


def send(simulator: Simulator, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
    return WIRE.send(simulator, request, on_text)
