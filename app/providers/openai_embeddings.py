"""Embeddings over OpenAI's wire. Vectors travel as base64 of little-endian floats: a third of the bytes of JSON."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Any

from app.errors import PersistentError, StepError
from app.gateway.model import Blame, EmbeddingAnswer, EmbeddingRequest, Usage
from app.gateway.prices import guess_tokens
from app.providers import figures
from app.providers.failures import error_object, marked, unreadable, unsendable
from app.providers.openai_connection import OpenAIConnection
from app.providers.openai_errors import from_body
from app.providers.reading import read_json

MOST_TEXTS = 2048
BYTES_A_NUMBER = 4


class OpenAIEmbeddings:
    """Embeddings of one server that speaks OpenAI's wire.

    Args:
        connection: shared with the same vendor's chats, and closed by them.
    """

    def __init__(self, connection: OpenAIConnection) -> None:
        self.name = connection.name
        self._connection = connection

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        """Send one request, once.

        Raises:
            PersistentError: more texts than the vendor takes, or an empty one; nothing was sent.
            StepError: as `ChatProvider.complete`.
        """
        _check(request)
        body: dict[str, Any] = {"model": request.model, "input": request.texts, "encoding_format": "base64"}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        content = await self._connection.post("/embeddings", body, request.timeout_s)
        try:
            return _read(read_json(content), request)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError, struct.error, binascii.Error) as error:
            raise unreadable(request.provider, "not one vector a text") from error


def _check(request: EmbeddingRequest) -> None:
    """Refuse what the vendor would refuse, before it travels."""
    problem = ""
    if not 1 <= len(request.texts) <= MOST_TEXTS:
        problem = f"{len(request.texts)} texts were given, and one request takes 1 to {MOST_TEXTS}"
    elif not all(request.texts):
        problem = f"text {request.texts.index('') + 1} of {len(request.texts)} is empty"
    elif request.dimensions is not None and request.dimensions < 1:
        problem = f"dimensions must be 1 or more, not {request.dimensions}"
    if problem:
        raise unsendable(request.provider, PersistentError, problem, code="embedding_invalid")


def _read(body: Any, request: EmbeddingRequest) -> EmbeddingAnswer:
    """Read a 2xx body; anything that is not one vector a text in it raises an error of reading."""
    if isinstance(body, dict) and body.get("error"):
        raise _error_inside(body, request)
    data = sorted(body["data"], key=lambda item: item["index"])
    if [item["index"] for item in data] != list(range(len(request.texts))):
        raise ValueError("indices")
    vectors = tuple(_vector(item["embedding"]) for item in data)
    if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise ValueError("lengths")
    if request.dimensions not in {None, len(vectors[0])}:
        raise _other_length(request, len(vectors[0]))
    return EmbeddingAnswer(vectors, str(body.get("model") or request.model), _usage(body.get("usage"), request))


def _other_length(request: EmbeddingRequest, length: int) -> StepError:
    """Make the error of a server that does not shorten vectors, and will not the next time either."""
    message = f"{request.provider} gives vectors of {length} numbers for {request.model}, not {request.dimensions}."
    return marked(PersistentError(message, code="embedding_invalid"), sent=True, blame=Blame.NONE)


def _error_inside(body: dict[str, Any], request: EmbeddingRequest) -> StepError:
    return from_body(request.provider, error_object(body) or {"message": str(body["error"])})


def _vector(raw: Any) -> tuple[float, ...]:
    if isinstance(raw, str):
        packed = base64.b64decode(raw, validate=True)
        vector: tuple[float, ...] = struct.unpack(f"<{len(packed) // BYTES_A_NUMBER}f", packed)
    else:  # servers that know no base64 send numbers
        vector = tuple(float(number) for number in raw)
    if not all(map(math.isfinite, vector)):
        raise ValueError("numbers")
    return vector


def _usage(raw: Any, request: EmbeddingRequest) -> Usage:
    tokens = figures.count_of(raw.get("prompt_tokens")) if isinstance(raw, dict) else 0
    if tokens:
        return Usage(input_tokens=tokens)
    return Usage(input_tokens=sum(guess_tokens(text) for text in request.texts), estimated=True)
