"""A step's paid calls: written before they are sent, answered in the same place."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from app.errors import StepParked
from app.gateway.media_model import VendorJob
from app.gateway.ports import ReservedCall

if TYPE_CHECKING:
    from app.errors import StepError
    from app.gateway.model import Usage
    from app.gateway.ports import CallEntry
    from app.runs.claimed import Claimed
    from app.runs.journal import JournalWriter


@dataclass(frozen=True)
class DayCaps:
    """Hard limits of a day's spending (UTC); None for none."""

    day_usd: Decimal | None = None
    owner_usd: Decimal | None = None


class StepLedger:
    """The ledger as one step sees it; implements the gateway's `CallLedger`.

    Args:
        journal: writes operations.
        step: whose calls these are.
        caps: limits of the day.
        part: which of the step's questions this ledger asks; a step that asks one has part 0.
        aside: who asks beside the step's own work; empty for the step itself. Where money does not suffice for such a
            question it is left out: neither the step nor its run waits.
    """

    def __init__(self, journal: JournalWriter, step: Claimed, caps: DayCaps, *, part: int = 0, aside: str = "") -> None:
        self._journal = journal
        self._step = step
        self._given_caps = caps
        self._caps = {"day_cap_usd": _text(caps.day_usd), "owner_cap_usd": _text(caps.owner_usd)}
        self._part = part
        self._aside = aside
        self._replace = False
        self._stored: list[dict[str, Any]] | None = None

    async def stored(self) -> ReservedCall | None:
        """Give the step's next answered call that this try has not been given yet; None when there is no other."""
        if self._stored is None:
            first_try = self._step.attempts == 1
            self._stored = [] if first_try else await self._read_stored()
        if not self._stored:
            return None
        call = self._stored.pop(0)
        return ReservedCall(call["ordinal"], call["request"], call["answer"], Decimal(str(call["cost_usd"])))

    async def _read_stored(self) -> list[dict[str, Any]]:
        answer = await self._journal.write(self._step.operation("stored_calls", part=self._part))
        calls: list[dict[str, Any]] = answer["calls"]
        return calls

    @property
    def run(self) -> str:
        """The run, which takes turns with others where a rate is kept."""
        return self._step.run_id

    @property
    def ticket(self) -> str:
        """The question, the same in every try."""
        return f"{self._step.run_id}/{self._step.key}/{self._part}"

    async def reserve(self, entry: CallEntry) -> ReservedCall:
        """Reserve the worst case and write the call before it is sent.

        Args:
            entry: what would be sent, and what it costs at most.

        Returns:
            The ordinal, and the request to send: the stored one where this is a second try.

        Raises:
            StepParked: money does not suffice, or the step is no longer ours; the journal has parked it already, unless
                this is asked aside.
        """
        answer = await self._journal.write(
            self._step.operation(
                "reserve_call",
                provider=entry.provider,
                model=entry.model,
                agent=self._aside or (self._step.task.target if self._step.task.kind == "agent" else ""),
                aside=bool(self._aside),
                request=entry.request,
                estimate_usd=str(entry.estimate_usd),
                price_version=entry.price_version,
                part=self._part,
                replace=self._replace,
                **self._caps,
            )
        )
        if answer.get("fenced") or answer.get("parked"):
            raise StepParked("budget" if answer.get("parked") else "fenced")
        self._replace = False
        cost = answer.get("cost_usd")
        # The journal gives a request back only where it keeps another: a long one is not read and written for nothing.
        return ReservedCall(
            answer["ordinal"],
            answer.get("request", entry.request),
            answer.get("answer"),
            None if cost is None else Decimal(str(cost)),
        )

    async def pool(self, entry: CallEntry, vendor_model: str, live_after_s: float) -> None:
        """Pool a question and park the step, or return when it is to be asked live."""
        answer = await self._journal.write(
            self._step.operation(
                "pool_call",
                provider=entry.provider,
                model=entry.model,
                vendor_model=vendor_model,
                agent=self._step.task.target if self._step.task.kind == "agent" else "",
                request=entry.request,
                estimate_usd=str(entry.estimate_usd),
                price_version=entry.price_version,
                part=self._part,
                live_after_s=live_after_s,
                **self._caps,
            )
        )
        if not answer.get("live"):
            raise StepParked("budget" if answer.get("parked") else "fenced")  # the journal has parked it

    def for_part(self, part: int) -> StepLedger:
        """Give the ledger of another of the step's questions."""
        return StepLedger(self._journal, self._step, self._given_caps, part=part, aside=self._aside)

    async def note_job(self, ordinal: int, job_id: str) -> None:
        """Store the id of a vendor's job: from now on it is re-attached and never handed in again."""
        await self._settle(ordinal, "sent", vendor_job_id=job_id)

    async def job(self) -> VendorJob | None:
        """Give the newest call when it was sent and never answered; None when there is none."""
        answer = await self._journal.write(self._step.operation("vendor_job", part=self._part))
        return VendorJob(**answer) if "ordinal" in answer else None

    async def answer(self, ordinal: int, response: dict[str, Any], usage: Usage, cost_usd: Decimal) -> None:
        """Store an answer and what it cost, before it is used; a late one settles too."""
        await self._settle(ordinal, "answered", response=response, usage=usage.to_json(), cost_usd=str(cost_usd))

    async def reject(self, ordinal: int, complaint: str) -> None:
        """Mark an answer that cannot be used: it was paid for, and the next call asks again with the complaint."""
        self._replace = True
        await self._settle(ordinal, "rejected", error={"message": complaint})

    async def fail(self, ordinal: int, error: StepError, sent: bool) -> None:  # noqa: FBT001 - the port's signature
        """Give the reservation back; a call that was sent and never answered stays at its estimate."""
        described = {"code": error.code, "message": str(error)}
        await self._settle(ordinal, "unknown" if sent else "failed", error=described)

    async def _settle(self, ordinal: int, status: str, **fields: Any) -> None:
        operation = self._step.operation("answer_call", ordinal=ordinal, status=status, **fields)
        # What was paid for is written even when the step is stopped meanwhile.
        await asyncio.shield(self._journal.write(operation))


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
