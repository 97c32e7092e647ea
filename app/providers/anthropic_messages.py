"""Chat over Anthropic's messages."""

from __future__ import annotations

from typing import Any

from app.errors import StepError
from app.gateway.model import ChatAnswer, ChatRequest
from app.gateway.ports import OnText
from app.providers.anthropic_answers import Pieces, read_answer, read_message
from app.providers.anthropic_connection import AnthropicConnection
from app.providers.anthropic_errors import MESSAGES_PATH
from app.providers.anthropic_request import wire_body

LONGEST_UNSTREAMED_TOKENS = 21_333
"""Above this many tokens of output an answer may take over ten minutes, and whatever lies between us and the vendor
closes connections on which nothing moves: such answers come as events even when nobody watches them. The number is the
SDK's own (ten minutes of 128,000 tokens an hour)."""


class AnthropicMessages:
    """Anthropic, or another server that speaks its wire.

    Args:
        name: the provider's name in the registry.
        api_key: from the vendor's console.
        base_url: without `/v1`; empty for Anthropic itself.
    """

    def __init__(self, *, name: str, api_key: str, base_url: str = "") -> None:
        self.name = name
        self.connection = AnthropicConnection(name=name, api_key=api_key, base_url=base_url)

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        """Send one request, once; with `on_text`, in pieces.

        Raises:
            StepError: with `details["sent"]` and `details["blame"]`, as the port says.
        """
        body = wire_body(request)
        if on_text is not None or request.max_tokens > LONGEST_UNSTREAMED_TOKENS:
            return await self._stream(body, request, on_text)
        return read_answer(await self.connection.post(MESSAGES_PATH, body, request.timeout_s), request)

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self.connection.close()

    async def _stream(self, body: dict[str, Any], request: ChatRequest, on_text: OnText | None) -> ChatAnswer:
        pieces = Pieces(request.provider)

        def take(event: Any) -> None:
            piece = pieces.add(event)
            if piece and on_text is not None:
                on_text(piece)

        try:
            await self.connection.stream(MESSAGES_PATH, {**body, "stream": True}, request.timeout_s, take)
        except StepError as error:
            if "status" in error.details:  # the vendor's own word, which it may say before it begins to answer
                error.details["sent"] = pieces.begun
            raise
        return read_message(pieces.message(), request)
