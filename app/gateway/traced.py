"""A provider whose calls are spans, in the words of the GenAI conventions.

What was asked and answered is not recorded: it is the users', and stands in the ledger.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from app.tracing import span

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from app.gateway.model import ChatAnswer, ChatRequest
    from app.gateway.ports import ChatProvider, OnText

PROVIDER_NAMES = {"google_ai": "gcp.gemini"}
"""What the conventions call a vendor, where its name in the registry is another."""


class TracedProvider:
    """Ask a provider within a span.

    Args:
        inner: the provider.
    """

    def __init__(self, inner: ChatProvider) -> None:
        self._inner = inner
        self.name = inner.name

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        """Send one request, once; errors as the provider's."""
        with span(
            f"chat {request.model}", _asked(request, streams=on_text is not None), kind=SpanKind.CLIENT
        ) as current:
            answer = await self._inner.complete(request, _watched(on_text, current))
            for key, value in _answered(answer).items():
                current.set_attribute(key, value)
            return answer

    async def close(self) -> None:
        """Give connections back."""
        await self._inner.close()


def _asked(request: ChatRequest, *, streams: bool) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER_NAMES.get(request.provider, request.provider),
        "gen_ai.request.model": request.model,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.stream": streams or None,
        "gen_ai.output.type": "json" if request.response_schema is not None else "text",
        "batuta.model": request.logical,
    }


def _answered(answer: ChatAnswer) -> dict[str, Any]:
    usage = answer.usage
    facts: dict[str, Any] = {
        "gen_ai.response.id": answer.vendor_id,
        "gen_ai.response.model": answer.model,
        "gen_ai.response.finish_reasons": [answer.finish_reason],
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
    if usage.vendor_cost_usd is not None:
        facts["batuta.vendor_cost_usd"] = float(usage.vendor_cost_usd)
    return facts


def _watched(on_text: OnText | None, current: Span) -> OnText | None:
    """Note when the first piece comes."""
    if on_text is None:
        return None
    began = time.perf_counter()
    waiting = True

    def hand_on(piece: str | None) -> None:
        nonlocal waiting
        if waiting:
            current.set_attribute("gen_ai.response.time_to_first_chunk", time.perf_counter() - began)
            waiting = False
        on_text(piece)

    return hand_on
