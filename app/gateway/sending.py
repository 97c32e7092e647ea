"""What every request goes through, whatever it asks: the gate, the ledger before and after, blame where it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar

from app.errors import PersistentError, ResourceError, StepError, StepParked
from app.gateway.model import Blame, Usage
from app.gateway.ports import (
    Admission,
    AnswerCache,
    CallEntry,
    CallLedger,
    ChatProvider,
    EmbeddingProvider,
    Gate,
    Passage,
    ReservedCall,
)
from app.gateway.prices import Worst
from app.gateway.registry import Target

Answered = TypeVar("Answered")

LONGEST_PARK_S = 60.0
"""A step parked by a breaker looks again at least this often: the breaker may have been closed by hand."""
LONGEST_SLEEP_S = 3.0
"""A wait up to this is slept through: it holds a coroutine and no thread, and to park and come back costs more."""
PARKED_EARLY_S = 2.0
"""Who is parked comes back so much before its turn: parked steps are looked at every two seconds. The rest is slept."""
LONGEST_ASKED_S = 120.0
"""Who is asked to wait longer than this goes to another target first, if there is one. The openai SDK draws the same
line: beyond it, trying again is not waiting but hoping."""
LATE_S = 0.25
"""Who needed longer from the gate to the vendor, because the ledger was busy, counts from when it is sent."""
RATE = "rate"
_FOR_GOOD = {"auth", "quota", "retired"}


@dataclass(frozen=True)
class PassedOver:
    """A target that does not serve this call, and why; a wait when it may serve it later."""

    problem: StepError | StepParked


@dataclass(frozen=True)
class Doors:
    """Where requests go, and what all of them share.

    Args:
        providers: the vendors that are configured, by their names in the registry.
        gate: breakers and rates.
        embedders: those of them that make embeddings.
        answers: keeps answers for those who ask the same again; None keeps none.
        price_version: of the registry, for the ledger.
    """

    providers: Mapping[str, ChatProvider]
    gate: Gate
    embedders: Mapping[str, EmbeddingProvider] = field(default_factory=dict)
    answers: AnswerCache | None = None
    price_version: str = ""


@dataclass(frozen=True)
class Sending:
    """A request that the gate let through."""

    passage: Passage
    admission: Admission
    at: float


class Sender:
    """Send the requests of one call; it lives as long as the call, and remembers who refused it.

    Args:
        ledger: of this try of the step.
        doors: where they go.
    """

    def __init__(self, ledger: CallLedger, doors: Doors) -> None:
        self._ledger = ledger
        self._doors = doors
        self._refused: set[tuple[str, str]] = set()

    def refuse(self, provider: str, model: str) -> None:
        """Remember that a model is not to be asked this again."""
        self._refused.add((provider, model))

    def refused(self, target: Target) -> bool:
        """Say whether a target refused this call already."""
        offer = target.offer
        return not self._refused.isdisjoint({(offer.provider, ""), (offer.provider, offer.model)})

    async def admit(self, target: Target, worst: Worst) -> Sending | PassedOver:
        """Pass the gate, or say what keeps this target shut; a short wait for the rate is waited for here.

        Raises:
            StepParked: `rate`, a longer wait.
        """
        offer = target.offer
        passage = Passage(offer.provider, offer.model, self._ledger.ticket, self._ledger.run, worst.likely_tokens)
        while True:
            admission = await self._doors.gate.enter(passage)
            if admission.allowed:
                return Sending(passage, admission, time.monotonic())
            if admission.reason != RATE:
                break
            if admission.retry_in_s > LONGEST_SLEEP_S:
                raise StepParked(RATE, delay_s=admission.retry_in_s - PARKED_EARLY_S)
            await asyncio.sleep(admission.retry_in_s)
        if admission.reason in _FOR_GOOD:
            message = f"{passage.provider} does not serve {passage.model} at the moment ({admission.reason})."
            return PassedOver(PersistentError(message, code=f"provider_{admission.reason}"))
        return PassedOver(StepParked("breaker", delay_s=min(admission.retry_in_s, LONGEST_PARK_S)))

    async def reserve(self, sending: Sending, target: Target, request: dict[str, Any], worst: Worst) -> ReservedCall:
        """Open the call's row.

        Raises:
            StepParked: `budget`.
        """
        entry = CallEntry(
            provider=target.offer.provider,
            model=target.logical.name,
            request=request,
            estimate_usd=worst.cost_usd,
            price_version=self._doors.price_version,
        )
        try:
            reserved = await self._ledger.reserve(entry)
            if time.monotonic() - sending.at > LATE_S:
                await self._doors.gate.delay(sending.passage, sending.admission)
        except BaseException:
            await self._doors.gate.withdraw(sending.passage, sending.admission)
            raise
        return reserved

    async def send(self, sending: Sending, ordinal: int, asking: Awaitable[Answered]) -> Answered | PassedOver:
        """Send it, and close its row when no answer comes.

        Raises:
            StepError: one that may pass.
        """
        try:
            return await asking
        except StepError as error:
            sent = bool(error.details.get("sent", True))
            await self._ledger.fail(ordinal, error, sent)
            if not sent and error.details.get("blame") != Blame.UNSENT:
                self._doors.gate.settle_soon(sending.passage, sending.admission, 0)
            return await self._blame(error, sending)
        except asyncio.CancelledError:
            await asyncio.shield(self._abandon(ordinal, sending))
            raise

    async def settle(
        self, sending: Sending, ordinal: int, response: dict[str, Any], usage: Usage, cost_usd: Decimal
    ) -> None:
        """Write an answer down before anybody uses it, and tell the gate of it."""
        await self._ledger.answer(ordinal, response, usage, cost_usd)
        await self._absolve(sending)
        self._doors.gate.settle_soon(sending.passage, sending.admission, usage.total_tokens)

    async def accepted(self, sending: Sending) -> None:
        """Tell the gate that a vendor took a job; what comes of it is another matter."""
        await self._absolve(sending)

    async def _abandon(self, ordinal: int, sending: Sending) -> None:
        """Close the row of a call whose step was cancelled or ran out of time: the vendor may charge for it."""
        error = ResourceError("The step ended while the vendor was still at work.", code="abandoned")
        await self._ledger.fail(ordinal, error, sent=True)
        if sending.admission.probe:
            await self._doors.gate.withdraw(sending.passage, replace(sending.admission, entry="", tokens=0))

    async def _blame(self, error: StepError, sending: Sending) -> PassedOver:
        """Tell the gate; pass the target over where another may do better, else raise what may pass."""
        passage, gate = sending.passage, self._doors.gate
        blame = Blame(error.details.get("blame", Blame.MODEL))
        opened = False
        if blame is Blame.NONE:
            await self._absolve(sending)  # it answered, if only to refuse this request
        elif blame is Blame.UNSENT:
            await gate.withdraw(passage, sending.admission)
        elif blame is Blame.PROVIDER:
            self.refuse(passage.provider, "")
            reason = "quota" if error.code == "quota" else "auth"
            await gate.fail(passage, reason=reason, error=str(error))
        else:
            reason = "retired" if blame is Blame.RETIRED else "failures"
            opened = await gate.fail(passage, reason=reason, error=str(error))
        asked_to_go = (error.retry_after_s or 0.0) > LONGEST_ASKED_S
        if not isinstance(error, PersistentError) and not opened and not asked_to_go:
            raise error
        self.refuse(passage.provider, passage.model)
        return PassedOver(error)

    async def _absolve(self, sending: Sending) -> None:
        """Tell of a success where it matters; without failures before it there is nothing to tell."""
        if sending.admission.probe or sending.admission.failures:
            await self._doors.gate.succeed(sending.passage)
