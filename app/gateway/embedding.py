"""One call for embeddings under way."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.errors import FatalError
from app.gateway.model import EmbeddingAnswer, EmbeddingCall, EmbeddingRequest, Embeddings, Usage
from app.gateway.ports import CallLedger
from app.gateway.prices import cost_usd, worst_embedding
from app.gateway.registry import Target
from app.gateway.sending import Doors, PassedOver, Sender

MOST_TEXTS = 256
"""In one call: the vectors stand in the ledger, 8 KB each at 1536 numbers."""


class EmbeddingExchange:
    """Ask for embeddings along a route; it lives as long as the call.

    Args:
        call: the texts.
        ledger: of this try of the step.
        doors: where requests go.
    """

    def __init__(self, call: EmbeddingCall, ledger: CallLedger, doors: Doors) -> None:
        self._call = call
        self._ledger = ledger
        self._doors = doors
        self._sender = Sender(ledger, doors)

    async def replay(self) -> Embeddings | None:
        """Use what an earlier try of the step was answered; None when there is none."""
        while (stored := await self._ledger.stored()) is not None:
            if stored.answer is not None:
                return _read_stored(stored.answer, stored.request, stored.cost_usd or Decimal(0))
        return None

    async def ask(self, target: Target) -> Embeddings | PassedOver:
        """Ask one target.

        Returns:
            The answer, or why another target should be asked.

        Raises:
            StepParked: `rate` or `budget`.
            StepError: one that may pass.
        """
        offer, call = target.offer, self._call
        worst = worst_embedding(offer.prices, call.texts)
        sending = await self._sender.admit(target, worst)
        if isinstance(sending, PassedOver):
            return sending
        written = {
            "provider": offer.provider,
            "model": offer.model,
            "logical": target.logical.name,
            "texts": list(call.texts),
            "dimensions": call.dimensions,
        }
        reserved = await self._sender.reserve(sending, target, written, worst)
        if reserved.answer is not None:
            return _read_stored(reserved.answer, written, reserved.cost_usd or Decimal(0))
        request = EmbeddingRequest(offer.provider, offer.model, call.texts, call.dimensions, call.timeout_s)
        asking = self._doors.embedders[offer.provider].embed(request)
        answer = await self._sender.send(sending, reserved.ordinal, asking)
        if isinstance(answer, PassedOver):
            return answer
        cost = cost_usd(offer.prices, answer.usage)
        await self._sender.settle(sending, reserved.ordinal, _to_json(answer), answer.usage, cost)
        return Embeddings(answer.vectors, target.logical.name, offer.provider, answer.model, answer.usage, cost)


def check_texts(call: EmbeddingCall) -> None:
    """Refuse what no vendor takes.

    Raises:
        FatalError: no text, an empty one, or too many.
    """
    if not 1 <= len(call.texts) <= MOST_TEXTS:
        raise FatalError(f"{len(call.texts)} texts cannot be embedded at once; 1 to {MOST_TEXTS} can.", code="texts")
    if not all(text.strip() for text in call.texts):
        raise FatalError("An empty text cannot be embedded.", code="texts")


def _to_json(answer: EmbeddingAnswer) -> dict[str, Any]:
    """Write an answer for the ledger: numbers as the 32 bits they are, a tenth of their digits."""
    numbers = array("f", (number for vector in answer.vectors for number in vector))
    return {
        "length": len(answer.vectors[0]),
        "vectors": base64.b64encode(numbers.tobytes()).decode(),
        "model": answer.model,
        "usage": answer.usage.to_json(),
    }


def _read_stored(raw: Mapping[str, Any], request: Mapping[str, Any], cost: Decimal) -> Embeddings:
    numbers = array("f")
    numbers.frombytes(base64.b64decode(raw["vectors"]))
    length = raw["length"]
    vectors = tuple(tuple(numbers[start : start + length]) for start in range(0, len(numbers), length))
    usage = Usage.from_json(raw["usage"])
    return Embeddings(vectors, str(request["logical"]), str(request["provider"]), raw["model"], usage, cost)
