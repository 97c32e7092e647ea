"""Doubles of the gateway's ports that behave, for tests of whatever stands on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from app.errors import StepError, StepParked
from app.gateway.model import ChatAnswer, ChatRequest, Usage
from app.gateway.ports import Admission, CallEntry, OnText, Passage, ReservedCall


@dataclass
class LedgerRow:
    """One call as the ledger knows it; statuses are `sent`, `answered`, `rejected`, `failed`, `unknown`."""

    ordinal: int
    provider: str
    model: str
    request: dict[str, Any]
    estimate_usd: Decimal
    status: str = "sent"
    response: dict[str, Any] | None = None
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    complaint: str = ""
    error: StepError | None = None

    @property
    def committed_usd(self) -> Decimal:
        """What the row takes from the budget: its cost, or its estimate while that is not known."""
        if self.cost_usd is not None:
            return self.cost_usd
        return Decimal(0) if self.status == "failed" else self.estimate_usd


@dataclass
class FakeLedger:
    """A ledger in memory. `retry()` gives the next try of the same step its ledger."""

    budget_usd: Decimal | None = None
    rows: list[LedgerRow] = field(default_factory=list)
    pooled: list[CallEntry] = field(default_factory=list)
    _given: int = 0
    run: str = "run"
    ticket: str = "run/step/0"

    def retry(self) -> FakeLedger:
        """Begin another try over the same rows; a call left `sent` becomes `unknown`, as a takeover makes it."""
        for row in self.rows:
            if row.status == "sent":
                row.status = "unknown"
        return FakeLedger(self.budget_usd, self.rows, self.pooled)

    @property
    def spent_usd(self) -> Decimal:
        """Everything counted against the budget."""
        return sum((row.committed_usd for row in self.rows), Decimal(0))

    def row(self, ordinal: int) -> LedgerRow:
        """Find a row by its number."""
        return next(row for row in self.rows if row.ordinal == ordinal)

    async def stored(self) -> ReservedCall | None:
        """Give the next answered call."""
        for row in self.rows:
            if row.ordinal > self._given and row.response is not None:
                self._given = row.ordinal
                return ReservedCall(row.ordinal, row.request, row.response, row.cost_usd)
        return None

    async def reserve(self, entry: CallEntry) -> ReservedCall:
        """Set money aside and write a row."""
        if self.budget_usd is not None and self.spent_usd + entry.estimate_usd > self.budget_usd:
            raise StepParked("budget")
        number = len(self.rows) + 1
        self.rows.append(LedgerRow(number, entry.provider, entry.model, entry.request, entry.estimate_usd))
        self._given = number
        return ReservedCall(number, entry.request)

    async def pool(self, entry: CallEntry, vendor_model: str, live_after_s: float) -> None:
        """Pool it once; whoever comes again without an answer is to ask live."""
        del vendor_model, live_after_s
        if self.pooled:
            return
        self.pooled.append(entry)
        raise StepParked("batch")

    async def answer(self, ordinal: int, response: dict[str, Any], usage: Usage, cost_usd: Decimal) -> None:
        """Store an answer."""
        row = self.row(ordinal)
        row.status, row.response, row.usage, row.cost_usd = "answered", response, usage, cost_usd

    async def reject(self, ordinal: int, complaint: str) -> None:
        """Mark an answer as unusable."""
        row = self.row(ordinal)
        row.status, row.complaint = "rejected", complaint

    async def fail(self, ordinal: int, error: StepError, sent: bool) -> None:  # noqa: FBT001 - as in the port
        """Close a call without an answer."""
        row = self.row(ordinal)
        row.status, row.error = ("unknown" if sent else "failed"), error


Said = str | ChatAnswer | BaseException


@dataclass
class ScriptedProvider:
    """A vendor that says what it was told to, in order, and the last line for ever.

    Args:
        says: texts, whole answers, or errors to raise.
        name: the vendor's name in the registry.
        usage: of every answer given as a text.
    """

    says: list[Said] = field(default_factory=lambda: ["ok"])
    name: str = "openai"
    usage: Usage = field(default_factory=lambda: Usage(input_tokens=10, output_tokens=5))
    requests: list[ChatRequest] = field(default_factory=list)
    before: Callable[[ChatRequest], None] | None = None

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        """Say the next line."""
        self.requests.append(request)
        if self.before is not None:
            self.before(request)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, BaseException):
            raise said
        answer = said if isinstance(said, ChatAnswer) else ChatAnswer(said, "stop", request.model, "fake", self.usage)
        if on_text is not None:
            for word in answer.text.splitlines(keepends=True):
                on_text(word)
        return answer

    async def close(self) -> None:
        """Do nothing."""


@dataclass
class LocalGate:
    """A gate within one process, for tests without Redis; it opens after `threshold` failures and stays open.

    Args:
        waits: seconds to wait for the rate that are told before a request is let through, first told first.
    """

    threshold: int = 5
    waits: list[float] = field(default_factory=list)
    failures: dict[tuple[str, str], int] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    entered: list[Passage] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    withdrawn: int = 0
    delayed: int = 0

    async def enter(self, passage: Passage) -> Admission:
        """Refuse what is open, and what must wait."""
        self.entered.append(passage)
        reason = self.reasons.get((passage.provider, "")) or self.reasons.get((passage.provider, passage.model))
        if reason:
            return Admission(allowed=False, retry_in_s=60.0, reason=reason)
        if self.waits:
            return Admission(allowed=False, retry_in_s=self.waits.pop(0), reason="rate")
        return Admission(allowed=True, failures=self.failures.get((passage.provider, passage.model), 0))

    async def succeed(self, passage: Passage) -> None:
        """Forget failures."""
        self.failures.pop((passage.provider, passage.model), None)

    async def fail(self, passage: Passage, *, reason: str, error: str) -> bool:  # noqa: ARG002 - as in the port
        """Count, and open when it is time."""
        provider, model = passage.provider, passage.model
        if reason in {"auth", "quota"}:
            self.reasons[provider, ""] = reason
            return True
        self.failures[provider, model] = self.failures.get((provider, model), 0) + 1
        if reason == "retired" or self.failures[provider, model] >= self.threshold:
            self.reasons[provider, model] = reason
        return (provider, model) in self.reasons

    async def withdraw(self, passage: Passage, admission: Admission) -> None:  # noqa: ARG002 - as in the port
        """Count what was given back."""
        self.withdrawn += 1

    async def delay(self, passage: Passage, admission: Admission) -> None:  # noqa: ARG002 - as in the port
        """Count what was sent late."""
        self.delayed += 1

    def settle_soon(self, passage: Passage, admission: Admission, tokens: int) -> None:  # noqa: ARG002 - as in the port
        """Keep what was used."""
        self.settled.append(tokens)
