"""Embeddings of the simulated servers: texts that share words lie close to each other."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from typing import TYPE_CHECKING, Any

from simulator.answers import AnswerBook, count_tokens
from simulator.openai_account import GOOGLE_WIRE, OWN_WIRE, OpenAIAccount, Wire
from simulator.openai_models import ModelFacts
from simulator.openai_refusals import Refusal, gone
from simulator.openai_rules import find_model

if TYPE_CHECKING:
    from aiohttp import web

MOST_TEXTS = 2048
MOST_TOKENS = 8192
MOST_TOKENS_A_REQUEST = 300_000
OWN_DIMENSIONS = 64
FIELDS = {"model", "input", "encoding_format", "dimensions", "user"}


def embed(request: web.Request, wire: Wire, account: OpenAIAccount, book: AnswerBook) -> dict[str, Any]:
    """Place texts.

    Raises:
        Refusal: the vendor would refuse it.
    """
    body = request["body"]
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise Refusal(400, "you must provide a model parameter")
    name = find_model(body["model"], wire, account, book.retired)
    facts = wire.models.get(name, ModelFacts(dimensions=OWN_DIMENSIONS))
    if not facts.dimensions:
        raise gone(wire, name)
    texts = _texts(body)
    length = _length(body, name, facts)
    as_text = _format(body) == "base64" and wire is not OWN_WIRE
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if as_text else vector}
        for place, vector in enumerate(place_text(text, facts.dimensions, length) for text in texts)
    ]
    tokens = sum(map(count_tokens, texts))
    usage = {} if wire is GOOGLE_WIRE else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return {"object": "list", "data": data, "model": name, **usage}


def _texts(body: dict[str, Any]) -> list[str]:
    unknown = sorted(set(body) - FIELDS)
    if unknown:
        raise _invalid(unknown[0], f"Unknown parameter: '{unknown[0]}'.")
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts) or not texts:
        raise _invalid("input", "'$.input' is invalid. Please check the API reference.")
    if len(texts) > MOST_TEXTS:
        raise _invalid("input", f"Invalid 'input': array too long. Expected an array with at most {MOST_TEXTS} items.")
    if max(map(count_tokens, texts)) > MOST_TOKENS:
        raise _invalid("input", f"This model's maximum context length is {MOST_TOKENS} tokens.")
    if sum(map(count_tokens, texts)) > MOST_TOKENS_A_REQUEST:
        raise _invalid("input", f"Requested more than the most of {MOST_TOKENS_A_REQUEST} tokens a request.")
    return texts


def _length(body: dict[str, Any], name: str, facts: ModelFacts) -> int:
    asked = body.get("dimensions")
    if asked is None:
        return facts.dimensions
    if name == "text-embedding-ada-002":
        raise _invalid("dimensions", "This model does not support specifying dimensions.")
    if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= facts.dimensions:
        raise _invalid("dimensions", f"Invalid value for 'dimensions' = {asked}.")
    return asked


def _format(body: dict[str, Any]) -> str:
    asked = body.get("encoding_format", "float")
    if asked not in {"float", "base64"}:
        raise _invalid("encoding_format", f"Invalid value: {asked!r}.")
    return str(asked)


def _invalid(param: str, message: str) -> Refusal:
    return Refusal(400, message, code="invalid_value", param=param)


def place_text(text: str, dimensions: int, length: int) -> list[float]:
    """Add up one direction a word, cut to a length, and make the sum of unit length."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [text]:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        for start in range(0, 32, 4):
            place = int.from_bytes(digest[start : start + 3], "big") % length
            vector[place] += 1.0 if digest[start + 3] % 2 else -1.0
    shortened = vector[:length]
    norm = math.sqrt(sum(number * number for number in shortened)) or 1.0
    return [number / norm for number in shortened]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
