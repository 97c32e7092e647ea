"""One call under way: what was asked, what came back, what it cost so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from app.errors import LogicalError, PersistentError
from app.gateway.model import ChatAnswer, ChatRequest, ModelAnswer, ModelCall, Usage, add_usage
from app.gateway.ports import CallEntry, CallLedger, OnText
from app.gateway.prices import cost_usd, worst_cost
from app.gateway.recalling import recall, remember
from app.gateway.registry import Target
from app.gateway.rendering import render_repair, render_request
from app.gateway.sending import Doors, PassedOver, Sender, Sending
from app.gateway.structured import read_structured

MOST_ASKS = 3
"""Answers of one call that may prove unusable before it is given up; each but the first is a repair."""


@dataclass(frozen=True)
class _Said:
    """An answer as it stands in the ledger."""

    ordinal: int
    request: ChatRequest
    answer: ChatAnswer
    cost_usd: Decimal


class Exchange:
    """One call's conversation with one model after another; it lives as long as the call.

    Args:
        call: the question.
        ledger: of this try of the step.
        doors: where requests go.
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
        self._sender = Sender(ledger, doors)

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
                self._hand_on(outcome.text)
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
        first = render_request(self._call, target)
        kept = await self._recall(first)
        if kept is not None:
            return kept
        offer = target.offer
        while not self._sender.refused(target):
            said = await self._send(first, target)
            outcome = said if isinstance(said, PassedOver) else await self._judge(said)
            if isinstance(outcome, ModelAnswer):
                await remember(self._doors.answers, self._call.keep, first, outcome)
            if outcome is not None:
                return outcome
        return PassedOver(
            PersistentError(f"{offer.provider} has refused this call for {offer.model} already.", code="refused")
        )

    async def pool(self, target: Target, live_after_s: float) -> None:
        """Put the question into a vendor's batch, unless it was answered unusably: what must be repaired is asked live.

        Returns:
            Only when it is to be asked live.

        Raises:
            StepParked: until its answer is there, or for money.
        """
        if self._asks:
            return
        request = render_request(self._call, target)
        worst = worst_cost(target.offer.prices, request, part=target.offer.prices.batch_factor)
        entry = CallEntry(
            provider=target.offer.provider,
            model=target.logical.name,
            request=request.to_json(),
            estimate_usd=worst.cost_usd,
            price_version=self._doors.price_version,
        )
        await self._ledger.pool(entry, target.offer.model, live_after_s)

    async def _recall(self, first: ChatRequest) -> ModelAnswer | None:
        """Use a kept answer to the very same request, unless this call has an answer of its own that was unusable."""
        if self._asks:
            return None
        answer = await recall(self._doors.answers, self._call.keep, first)
        if answer is None:
            return None
        said = _Said(0, first, answer, Decimal(0))
        data, complaint = _read(said)
        if complaint:
            return None
        self._hand_on(answer.text)
        return replace(self._finished(said, data), requests=0, cached=True)

    async def _send(self, first: ChatRequest, target: Target) -> _Said | PassedOver:
        """Pass the gate, write the call down, send it, write its answer down."""
        rendered = first if self._repair is None else replace(first, messages=self._repair.messages)
        worst = worst_cost(target.offer.prices, rendered)
        sending = await self._sender.admit(target, worst)
        if isinstance(sending, PassedOver):
            return sending
        written = rendered.to_json()
        reserved = await self._sender.reserve(sending, target, written, worst)
        request = rendered
        if reserved.request is not written:
            request = _asked_again(reserved.request, rendered)
        if reserved.answer is not None:
            answer, cost = ChatAnswer.from_json(reserved.answer), reserved.cost_usd or Decimal(0)
            return _Said(reserved.ordinal, request, answer, cost)
        return await self._send_now(reserved.ordinal, request, target, sending)

    async def _send_now(
        self, ordinal: int, request: ChatRequest, target: Target, sending: Sending
    ) -> _Said | PassedOver:
        listener = self._hand_on if self._on_text is not None else None
        asking = self._doors.providers[request.provider].complete(request, listener)
        try:
            answer = await self._sender.send(sending, ordinal, asking)
        except BaseException:
            self._void()
            raise
        if isinstance(answer, PassedOver):
            self._void()
            return answer
        cost = cost_usd(target.offer.prices, answer.usage)
        await self._sender.settle(sending, ordinal, answer.to_json(), answer.usage, cost)
        return _Said(ordinal, request, answer, cost)

    def _hand_on(self, piece: str | None) -> None:
        if self._on_text is not None:
            self._begun = True
            self._on_text(piece)

    def _void(self) -> None:
        """Say that the pieces so far are void: what they belonged to failed, or cannot be used."""
        if self._begun and self._on_text is not None:
            self._on_text(None)
        self._begun = False

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
            self._void()
            self._sender.refuse(said.request.provider, said.request.model)
            return PassedOver(
                PersistentError(f"{said.request.logical} does not answer this: {refusal}", code="refused")
            )
        data, complaint = _read(said)
        if not complaint:
            return self._finished(said, data)
        await self._ledger.reject(said.ordinal, complaint)
        self._void()
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


def _asked_again(stored: Mapping[str, Any], rendered: ChatRequest) -> ChatRequest:
    """Put a stored question in place of one rendered anew; where it goes and how is the registry's of today.

    What it costs is reckoned by this target's prices, and a parameter that a vendor refused may be mended since.
    """
    asked = ChatRequest.from_json(stored)
    return replace(rendered, messages=asked.messages, response_schema=asked.response_schema, tools=asked.tools)


def _refusal(answer: ChatAnswer) -> str:
    """Say why a model refuses; empty when it does not."""
    if answer.refusal:
        return f"it refuses: {answer.refusal[:300]}"
    if answer.finish_reason == "content_filter":
        return "the vendor's content filter stopped it"
    return ""


def _missing(said: _Said) -> str:
    """Say what an answer lacks before one looks at what it says; empty when it lacks nothing."""
    answer, request = said.answer, said.request
    if answer.tool_calls:
        return "" if request.tools else "it asks for a tool, and there are none; answer in words"
    if answer.finish_reason == "tool_calls" and (request.tools or not answer.text.strip()):
        return "it asks for a tool, but its call cannot be read: name one tool and give its input as a JSON object"
    if answer.text.strip():
        return ""
    if answer.finish_reason == "length":
        return f"it was cut off at {request.max_tokens} tokens before a word of it came; think less, be brief"
    return "it is empty"


def _read(said: _Said) -> tuple[Any, str]:
    """Read an answer as its request wants it: the data, or a complaint."""
    answer, schema = said.answer, said.request.response_schema
    missing = _missing(said)
    if missing or answer.tool_calls or schema is None:
        return None, missing
    data, complaint = read_structured(answer.text, schema)
    if complaint and answer.finish_reason == "length":
        complaint = f"it was cut off at {said.request.max_tokens} tokens; be briefer"
    return data, complaint
