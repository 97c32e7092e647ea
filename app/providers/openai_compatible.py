"""Chat over OpenAI's wire, for OpenAI and every server that speaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.gateway.model import ChatAnswer, ChatRequest
from app.gateway.ports import OnText
from app.providers.openai_answers import read_answer
from app.providers.openai_connection import OpenAIConnection
from app.providers.openai_messages import wire_body
from app.providers.openai_streaming import CHAT, stream_answer


class OpenAICompatible:
    """One server that speaks OpenAI's chat completions.

    Args:
        name: the provider's name in the registry.
        api_key: may be empty for a server of one's own.
        base_url: with `/v1`; empty for OpenAI itself.
        headers: sent with every request.
        foreign_call: what goes with calls of tools that another vendor's model made earlier in a conversation.
    """

    def __init__(
        self,
        *,
        name: str,
        api_key: str,
        base_url: str = "",
        headers: Mapping[str, str] | None = None,
        foreign_call: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._foreign_call = foreign_call
        self.connection = OpenAIConnection(name=name, api_key=api_key, base_url=base_url, headers=headers)

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        """Send one request, once; with `on_text`, in pieces.

        Raises:
            StepError: with `details["sent"]` and `details["blame"]`, as the port says.
        """
        body = wire_body(request, self._foreign_call)
        if on_text is not None:
            return await stream_answer(self.connection, request, body, on_text)
        content = await self.connection.post(CHAT, body, request.timeout_s)
        return read_answer(content, request)

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self.connection.close()
