"""One call under way: what was asked, what came back, what it cost so far."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from app.errors import LogicalError, PersistentError, ResourceError, StepError, StepParked
from app.gateway.model import Blame, ChatAnswer, ChatRequest, ModelAnswer, ModelCall, Usage, add_usage
from app.gateway.ports import Admission, CallEntry, CallLedger, ChatProvider, Gate, OnText, Passage
from app.gateway.prices import Worst, cost_usd, worst_cost
from app.gateway.registry import Target
from app.gateway.rendering import render_repair, render_request
from app.gateway.structured import read_structured

MOST_ASKS = 3
"""Answers of one call that may prove unusable before it is given up; each but the first is a repair."""
LONGEST_PARK_S = 60.0
"""A step parked by a breaker looks again at least this often: the breaker may have been closed by hand."""
LONGEST_SLEEP_S = 3.0
"""A wait up to this is slept through: it holds a coroutine and no thread, and to park and come back costs more."""
PARKED_EARLY_S = 2.0
"""Who is parked comes back so much before its turn: parked steps are looked at every two seconds. The rest is slept."""
RATE = "rate"
_FOR_GOOD = {"auth", "quota", "retired"}


@dataclass(frozen=True)
class PassedOver:
    """A target that does not serve this call, and why; a wait when it may serve it later."""

    problem: StepError | StepParked


@dataclass(frozen=True)
class _Said:
    """An answer as it stands in the ledger."""

    ordinal: int
    request: ChatRequest
    answer: ChatAnswer
    cost_usd: Decimal


@dataclass(frozen=True)
class _Sending:
    """A request that the gate let through."""

    passage: Passage
    admission: Admission


@dataclass(frozen=True)
class Doors:
    """What every request passes, and where it goes. Without a price version the ledger's is empty."""

    providers: Mapping[str, ChatProvider]
    gate: Gate
    price_version: str = ""


class Exchange:
    """One call's conversation with one model after another; it lives as long as the call.

    Args:
        call: the question.
        ledger: of this try of the step.
        doors: limits, breakers and vendors.
        on_text: takes the answer's pieces as they come.
    """

    def __init__(self, call: ModelCall, ledger: CallLedger, doors: Doors, on_text: OnText | None = None) -> None:
        self._call = call
        self._on_text = on_text
        self._begun = False
        self._ledger = ledger
        self._doors = doors
        self._usage = Usage(vendor_cost_usd=Decimal(0))
        self._cost_usd = Decimal(0)
        self._asks = 0
        self._repair: ChatRequest | None = None
        self._refused: set[tuple[str, str]] = set()

    async def replay(self) -> ModelAnswer | None:
        """Use what an earlier try of the step was answered; nothing of it is bought twice.

        Returns:
            None when there is no usable answer; complaints and refusals of the stored ones are then known.
        """
        while (stored := await self._ledger.stored()) is not None:
            if stored.answer is None:
                continue
            said = _Said(
                stored.ordinal,
                ChatRequest.from_json(stored.request),
                ChatAnswer.from_json(stored.answer),
                stored.cost_usd or Decimal(0),
            )
            outcome = await self._judge(said)
            if isinstance(outcome, ModelAnswer):
                if self._on_text is not None:
                    self._on_text(outcome.text)
                return outcome
        return None

    async def ask(self, target: Target) -> ModelAnswer | PassedOver:
        """Ask one target until its answer is usable.

        Returns:
            The answer, or why another target should be asked.

        Raises:
            StepParked: `rate` or `budget`.
            StepError: one that may pass, or a `LogicalError` after `MOST_ASKS` unusable answers.
        """
        offer = target.offer
        while not self._refused.intersection({(offer.provider, ""), (offer.provider, offer.model)}):
            said = await self._send(target)
            outcome = said if isinstance(said, PassedOver) else await self._judge(said)
            if outcome is not None:
                return outcome
        return PassedOver(
            PersistentError(f"{offer.provider} has refused this call for {offer.model} already.", code="refused")
        )

    async def _send(self, target: Target) -> _Said | PassedOver:
        """Pass the gate, write the call down, send it, write its answer down."""
        rendered = render_request(self._call, target)
        if self._repair is not None:
            rendered = replace(rendered, messages=self._repair.messages)
        worst = worst_cost(target.offer.prices, rendered)
        passage = Passage(
            target.offer.provider, target.offer.model, self._ledger.ticket, self._ledger.run, worst.likely_tokens
        )
        admission = await self._admit(passage)
        if isinstance(admission, PassedOver):
            return admission
        sending = _Sending(passage, admission)
        ordinal, request, found = await self._reserve(rendered, worst, sending)
        if found is not None:
            return found
        try:
            answer = await self._doors.providers[request.provider].complete(request, self._listener())
        except StepError as error:
            await self._ledger.fail(ordinal, error, bool(error.details.get("sent", True)))
            return await self._blame(error, sending)
        except asyncio.CancelledError:
            await asyncio.shield(self._abandon(ordinal, sending))
            raise
        cost = cost_usd(target.offer.prices, answer.usage)
        await self._ledger.answer(ordinal, answer.to_json(), answer.usage, cost)
        await self._absolve(sending)
        self._doors.gate.settle_soon(passage, admission, answer.usage.total_tokens)
        return _Said(ordinal, request, answer, cost)

    def _listener(self) -> OnText | None:
        """Hand pieces on; before those of another try, say that the earlier ones are void."""
        tell = self._on_text
        if tell is None:
            return None
        if self._begun:
            tell(None)
            self._begun = False

        def hand_on(piece: str | None) -> None:
            self._begun = True
            tell(piece)

        return hand_on

    async def _admit(self, passage: Passage) -> Admission | PassedOver:
        """Pass the gate, or say what keeps this target shut; a short wait for the rate is waited for here."""
        while True:
            admission = await self._doors.gate.enter(passage)
            if admission.allowed:
                return admission
            if admission.reason != RATE:
                break
            if admission.retry_in_s > LONGEST_SLEEP_S:
                raise StepParked(RATE, delay_s=admission.retry_in_s - PARKED_EARLY_S)
            await asyncio.sleep(admission.retry_in_s)
        if admission.reason in _FOR_GOOD:
            message = f"{passage.provider} does not serve {passage.model} at the moment ({admission.reason})."
            return PassedOver(PersistentError(message, code=f"provider_{admission.reason}"))
        return PassedOver(StepParked("breaker", delay_s=min(admission.retry_in_s, LONGEST_PARK_S)))

    async def _reserve(
        self, rendered: ChatRequest, worst: Worst, sending: _Sending
    ) -> tuple[int, ChatRequest, _Said | None]:
        """Open the call's row. The stored request wins, unless its provider is not configured any more."""
        entry = CallEntry(
            provider=rendered.provider,
            model=rendered.logical,
            request=rendered.to_json(),
            estimate_usd=worst.cost_usd,
            price_version=self._doors.price_version,
        )
        try:
            reserved = await self._ledger.reserve(entry)
        except BaseException:
            await self._doors.gate.withdraw(sending.passage, sending.admission)
            raise
        request = rendered
        if reserved.request is not entry.request and reserved.request.get("provider") in self._doors.providers:
            request = ChatRequest.from_json(reserved.request)
        found = None
        if reserved.answer is not None:
            found = _Said(
                reserved.ordinal, request, ChatAnswer.from_json(reserved.answer), reserved.cost_usd or Decimal(0)
            )
        return reserved.ordinal, request, found

    async def _abandon(self, ordinal: int, sending: _Sending) -> None:
        """Close the row of a call whose step was cancelled or ran out of time: the vendor may charge for it."""
        error = ResourceError("The step ended while the vendor was still at work.", code="abandoned")
        await self._ledger.fail(ordinal, error, sent=True)
        if sending.admission.probe:
            await self._doors.gate.withdraw(sending.passage, replace(sending.admission, tokens=0))

    async def _blame(self, error: StepError, sending: _Sending) -> PassedOver:
        """Tell the gate; pass the target over where another may do better, else raise what may pass."""
        passage, gate = sending.passage, self._doors.gate
        blame = Blame(error.details.get("blame", Blame.MODEL))
        opened = False
        if blame is Blame.NONE:
            await self._absolve(sending)  # it answered, if only to refuse this request
        elif blame is Blame.PROVIDER:
            self._refused.add((passage.provider, ""))
            reason = "quota" if error.code == "quota" else "auth"
            await gate.fail(passage, reason=reason, error=str(error))
        else:
            reason = "retired" if blame is Blame.RETIRED else "failures"
            opened = await gate.fail(passage, reason=reason, error=str(error))
        if not isinstance(error, PersistentError) and not opened:
            raise error
        self._refused.add((passage.provider, passage.model))
        return PassedOver(error)

    async def _absolve(self, sending: _Sending) -> None:
        """Tell of a success where it matters; without failures before it there is nothing to tell."""
        if sending.admission.probe or sending.admission.failures:
            await self._doors.gate.succeed(sending.passage)

    async def _judge(self, said: _Said) -> ModelAnswer | PassedOver | None:
        """Turn an answer into what the step gets, or reject it.

        Returns:
            None when it is unusable and may be asked for again; the repair is then ready.

        Raises:
            LogicalError: it was asked often enough.
        """
        self._asks += 1
        self._usage = add_usage(self._usage, said.answer.usage)
        self._cost_usd += said.cost_usd
        refusal = _refusal(said.answer)
        if refusal:
            await self._ledger.reject(said.ordinal, refusal)
            self._refused.add((said.request.provider, said.request.model))
            return PassedOver(
                PersistentError(f"{said.request.logical} does not answer this: {refusal}", code="refused")
            )
        data, complaint = _read(said)
        if not complaint:
            return self._finished(said, data)
        await self._ledger.reject(said.ordinal, complaint)
        if self._asks >= MOST_ASKS:
            message = f"{said.request.logical} gave {self._asks} answers that cannot be used; the last: {complaint}"
            raise LogicalError(message, code="unusable_answer", final=True)
        self._repair = render_repair(said.request, said.answer.text, complaint)
        return None

    def _finished(self, said: _Said, data: Any) -> ModelAnswer:
        return ModelAnswer(
            text=said.answer.text,
            data=data,
            structured=said.request.response_schema is not None,
            model=said.request.logical,
            provider=said.request.provider,
            vendor_model=said.answer.model or said.request.model,
            usage=self._usage,
            cost_usd=self._cost_usd,
            finish_reason=said.answer.finish_reason,
            requests=self._asks,
            tool_calls=said.answer.tool_calls,
        )


def _refusal(answer: ChatAnswer) -> str:
    """Say why a model refuses; empty when it does not."""
    if answer.refusal:
        return f"it refuses: {answer.refusal[:300]}"
    if answer.finish_reason == "content_filter":
        return "the vendor's content filter stopped it"
    return ""


def _read(said: _Said) -> tuple[Any, str]:
    """Read an answer as its request wants it: the data, or a complaint."""
    answer, schema = said.answer, said.request.response_schema
    if answer.tool_calls:
        return None, ""
    if not answer.text.strip():
        cut = f"it was cut off at {said.request.max_tokens} tokens before a word of it came; think less, be brief"
        return None, cut if answer.finish_reason == "length" else "it is empty"
    if schema is None:
        return None, ""
    data, complaint = read_structured(answer.text, schema)
    if complaint and answer.finish_reason == "length":
        complaint = f"it was cut off at {said.request.max_tokens} tokens; be briefer"
    return data, complaint
