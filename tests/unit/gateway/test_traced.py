"""What a trace tells of calls to models: all of them, in the conventions' words, and nothing that was said."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.errors import TransientError
from app.gateway.fakes import ScriptedProvider
from app.gateway.media_model import FilmRequest, FilmState, FilmStatus, ImageAnswer, ImageRequest
from app.gateway.model import ChatRequest, EmbeddingAnswer, EmbeddingRequest, Usage
from app.gateway.traced import TracedEmbedder, TracedMaker, TracedProvider

SECRET = "the user's own words"


class Embedder:
    """A vendor that knows one vector."""

    name = "openai"

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        return EmbeddingAnswer(((0.0, 1.0),) * len(request.texts), request.model, Usage(input_tokens=3))


class Maker:
    """A vendor that makes what is asked for."""

    name = "google_ai"

    async def make_image(self, request: ImageRequest) -> ImageAnswer:
        return ImageAnswer(b"png", request.model, "i1", Usage(input_tokens=3, output_tokens=1120))

    async def submit_film(self, request: FilmRequest) -> FilmState:
        raise TransientError(f"no: {request.prompt}", code="rate_limited")

    async def read_film(self, job_id: str) -> FilmState:
        return FilmState(job_id, FilmStatus.WORKING)

    async def fetch_film(self, uri: str, hosts: tuple[str, ...]) -> bytes:
        raise NotImplementedError((uri, hosts))

    async def close(self) -> None:
        """Do nothing."""


def recorded(work: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, Any]]:
    """Do something, and give its one span."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    with contextlib.suppress(TransientError):
        asyncio.run(work)
    (one,) = kept.get_finished_spans()
    provider.shutdown()
    assert SECRET not in str((one.name, one.attributes, one.events, one.status))
    return one.name, dict(one.attributes or {})


def test_a_chat_tells_what_was_asked_for_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracedProvider(ScriptedProvider([SECRET]))
    request = ChatRequest("openai", "m1", "fast_ai", ({"role": "user", "content": SECRET},), 10, temperature=0.5)

    name, facts = recorded(provider.complete(request, lambda _piece: None), monkeypatch)

    assert name == "chat m1"
    assert facts.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert facts == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m1",
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "text",
        "batuta.model": "fast_ai",
        "gen_ai.response.id": "fake",
        "gen_ai.response.model": "m1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 0,
    }


def test_embeddings_are_a_span_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name, facts = recorded(TracedEmbedder(Embedder()).embed(EmbeddingRequest("openai", "e", (SECRET,), 2)), monkeypatch)

    assert name == "embeddings e"
    assert facts["gen_ai.operation.name"] == "embeddings"
    assert (facts["gen_ai.embeddings.dimension.count"], facts["gen_ai.usage.input_tokens"]) == (2, 3)


def test_an_image_and_an_order_for_a_film_are_spans_too(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = TracedMaker(Maker())

    name, facts = recorded(maker.make_image(ImageRequest("google_ai", "pro-image", SECRET)), monkeypatch)
    assert (name, facts["gen_ai.provider.name"]) == ("generate_content pro-image", "gcp.gemini")
    assert (facts["gen_ai.output.type"], facts["gen_ai.usage.output_tokens"]) == ("image", 1120)

    name, facts = recorded(maker.submit_film(FilmRequest("google_ai", "omni", SECRET, 8)), monkeypatch)
    assert (facts["gen_ai.output.type"], facts["error.type"]) == ("video", "rate_limited")
