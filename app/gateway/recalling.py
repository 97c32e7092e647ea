"""Answers that are kept for those who ask the very same again, where a step wishes it.

The same is: the same owner, model, vendor, texts and settings, to the letter. What has images or tools is never kept,
nor what was cut off.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from app.gateway.model import ChatAnswer, ChatRequest, Keep, ModelAnswer, Usage
from app.gateway.ports import AnswerCache

MOST_CHARACTERS = 1_000_000


async def recall(answers: AnswerCache | None, keep: Keep | None, request: ChatRequest) -> ChatAnswer | None:
    """Find the kept answer to a request; it used up nothing."""
    if answers is None or keep is None or not _may_be_kept(request):
        return None
    raw = await answers.find(answer_key(keep.owner, request))
    return None if raw is None else ChatAnswer.from_json({**raw, "usage": Usage().to_json()})


async def remember(answers: AnswerCache | None, keep: Keep | None, request: ChatRequest, answer: ModelAnswer) -> None:
    """Keep an answer that is whole."""
    whole = answer.finish_reason == "stop" and not answer.tool_calls and len(answer.text) <= MOST_CHARACTERS
    if answers is None or keep is None or not whole or not _may_be_kept(request):
        return
    raw = {"text": answer.text, "finish_reason": "stop", "model": answer.vendor_model, "vendor_id": ""}
    await answers.keep(answer_key(keep.owner, request), raw, keep.ttl_s)


def answer_key(owner: str, request: ChatRequest) -> str:
    """Name what must be equal."""
    asked: dict[str, Any] = request.to_json()
    del asked["timeout_s"]  # changes when an answer comes, not what it says
    written = json.dumps([owner, asked], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()


def _may_be_kept(request: ChatRequest) -> bool:
    return not request.tools and all(
        isinstance(message.get("content"), str) or all(part.get("type") == "text" for part in message["content"])
        for message in request.messages
    )
