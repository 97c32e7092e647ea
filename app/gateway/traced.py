"""Providers whose calls are spans, in the words of the GenAI conventions.

What was asked and answered is not recorded: it is the users', and stands in the ledger.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from app.tracing import span

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from app.gateway.media_model import FilmRequest, FilmState, ImageAnswer, ImageRequest
    from app.gateway.media_ports import MediaProvider
    from app.gateway.model import ChatAnswer, ChatRequest, EmbeddingAnswer, EmbeddingRequest, Usage
    from app.gateway.ports import ChatProvider, EmbeddingProvider, OnText

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


class TracedEmbedder:
    """Ask for embeddings within a span.

    Args:
        inner: the provider.
    """

    def __init__(self, inner: EmbeddingProvider) -> None:
        self._inner = inner
        self.name = inner.name

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        """Send one request, once; errors as the provider's."""
        asked = {
            **_named("embeddings", request.provider, request.model),
            "gen_ai.embeddings.dimension.count": request.dimensions,
        }
        with span(f"embeddings {request.model}", asked, kind=SpanKind.CLIENT) as current:
            answer = await self._inner.embed(request)
            current.set_attribute("gen_ai.response.model", answer.model)
            current.set_attribute("gen_ai.usage.input_tokens", answer.usage.prompt_tokens)
            return answer


class TracedMaker:
    """Have images made, and films handed in, within a span; looking at a film and fetching it are not calls of a model.

    Args:
        inner: the provider.
    """

    def __init__(self, inner: MediaProvider) -> None:
        self._inner = inner
        self.name = inner.name
        self.read_film = inner.read_film
        self.fetch_film = inner.fetch_film
        self.close = inner.close

    async def make_image(self, request: ImageRequest) -> ImageAnswer:
        """Send one request, once; errors as the provider's."""
        asked = {**_named("generate_content", request.provider, request.model), "gen_ai.output.type": "image"}
        with span(f"generate_content {request.model}", asked, kind=SpanKind.CLIENT) as current:
            answer = await self._inner.make_image(request)
            current.set_attribute("gen_ai.response.id", answer.vendor_id)
            current.set_attribute("gen_ai.response.model", answer.model)
            for key, value in _used(answer.usage).items():
                current.set_attribute(key, value)
            return answer

    async def submit_film(self, request: FilmRequest) -> FilmState:
        """Hand a job in, once; errors as the provider's."""
        asked = {**_named("generate_content", request.provider, request.model), "gen_ai.output.type": "video"}
        with span(f"generate_content {request.model}", asked, kind=SpanKind.CLIENT) as current:
            state = await self._inner.submit_film(request)
            current.set_attribute("gen_ai.response.id", state.job_id)
            return state


def _named(operation: str, provider: str, model: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER_NAMES.get(provider, provider),
        "gen_ai.request.model": model,
    }


def _asked(request: ChatRequest, *, streams: bool) -> dict[str, Any]:
    return {
        **_named("chat", request.provider, request.model),
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.stream": streams or None,
        "gen_ai.output.type": "json" if request.response_schema is not None else "text",
        "batuta.model": request.logical,
    }


def _answered(answer: ChatAnswer) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gen_ai.response.id": answer.vendor_id,
        "gen_ai.response.model": answer.model,
        "gen_ai.response.finish_reasons": [answer.finish_reason],
        **_used(answer.usage),
    }
    if answer.usage.vendor_cost_usd is not None:
        facts["batuta.vendor_cost_usd"] = float(answer.usage.vendor_cost_usd)
    return facts


def _used(usage: Usage) -> dict[str, int]:
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


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
