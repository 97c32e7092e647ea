"""What the gateway needs from outside: a vendor, a ledger and a gate, each behind a protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from app.errors import StepError
from app.gateway.model import (
    BatchItem,
    BatchResult,
    BatchState,
    ChatAnswer,
    ChatRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    Usage,
)

OnText = Callable[[str | None], None]
"""Takes a piece of an answer as it comes; None says that the pieces so far are void, for another try begins."""


class ChatProvider(Protocol):
    """A vendor that answers chats."""

    name: str

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        """Send one request, once.

        Args:
            request: the question.
            on_text: is called with every piece of the text as it comes, never with None: what is void is not the
                vendor's to say. Without it the answer is asked for in one piece.

        Raises:
            StepError: of the class that fits, with `details["sent"]` (whether the vendor may have done the work and
                charge for it although we saw no answer) and `details["blame"]`, a `Blame`.
        """

    async def close(self) -> None:
        """Give connections back; the next call opens new ones."""


class EmbeddingProvider(Protocol):
    """A vendor that places texts in a space."""

    name: str

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        """Send one request, once; errors as `ChatProvider.complete`."""


class BatchProvider(Protocol):
    """A vendor that answers many chats later, at a lower price."""

    name: str

    async def submit_batch(self, items: Sequence[BatchItem], mark: str) -> str:
        """Hand a batch in; errors as `ChatProvider.complete`.

        Args:
            items: at least one, names unique.
            mark: ours, kept by vendors that keep such a thing, so that `find_batch` finds a batch whose id was lost.

        Returns:
            The batch's id at the vendor.
        """

    async def read_batch(self, batch_id: str) -> BatchState:
        """Ask how a batch stands."""

    async def read_results(self, batch_id: str) -> list[BatchResult]:
        """Fetch what came of every item of a batch that has ended, in any order."""

    async def cancel_batch(self, batch_id: str) -> None:
        """Ask the vendor to stop; what it answered already is kept and charged."""

    async def find_batch(self, mark: str, names: Sequence[str]) -> str | None:
        """Find a batch that was handed in under a mark and whose id was lost; None when there is none."""


@dataclass(frozen=True)
class CallEntry:
    """A row of the ledger that is to be opened.

    Args:
        provider: the vendor.
        model: the logical name.
        request: JSON, what would be sent.
        estimate_usd: the worst case.
        price_version: of the registry that the estimate and the cost come from.
    """

    provider: str
    model: str
    request: dict[str, Any]
    estimate_usd: Decimal
    price_version: str = ""


@dataclass(frozen=True)
class ReservedCall:
    """A row of the ledger that was opened, or found.

    Args:
        ordinal: its number within the step.
        request: what to send: the stored request, which wins over one rendered anew.
        answer: the stored answer when there is one; then nothing is sent.
        cost_usd: what the stored answer cost.
    """

    ordinal: int
    request: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None
    cost_usd: Decimal | None = None


class CallLedger(Protocol):
    """Where one try of one step writes its paid calls; one object a try, not shared between tasks.

    Attributes:
        run: the run, or whatever else takes turns with others of its kind.
        ticket: the question, the same in every try of it.
    """

    @property
    def run(self) -> str:
        """See above."""

    @property
    def ticket(self) -> str:
        """See above."""

    async def stored(self) -> ReservedCall | None:
        """Give the step's next answered call that this try has not been given yet; None when there is no other.

        Answers that were rejected count: they were paid for, and judging them again comes to the same complaint.
        """

    async def reserve(self, entry: CallEntry) -> ReservedCall:
        """Set money aside and write the call down, before it is sent.

        Returns:
            With the entry's own request when it is to be sent as it is.

        Raises:
            StepParked: `budget`, the money does not suffice; nothing was written.
        """

    async def pool(self, entry: CallEntry, vendor_model: str, live_after_s: float) -> None:
        """Set money aside for a question that goes into a vendor's batch, write it down and park the step.

        Args:
            entry: as for `reserve`.
            vendor_model: the vendor's id of the model.
            live_after_s: after so many seconds the step comes back at the latest.

        Returns:
            Only when the question was in a batch already that did not bring its answer: it is to be asked live.

        Raises:
            StepParked: until the answer is there, or for money; the step is parked already.
        """

    async def answer(self, ordinal: int, response: dict[str, Any], usage: Usage, cost_usd: Decimal) -> None:
        """Store an answer and settle the money, before anybody uses the answer."""

    async def reject(self, ordinal: int, complaint: str) -> None:
        """Mark a stored answer as unusable; the next ordinal asks again with the complaint."""

    async def fail(self, ordinal: int, error: StepError, sent: bool) -> None:  # noqa: FBT001
        """Close a call without an answer.

        Args:
            ordinal: the call.
            error: why.
            sent: True when the vendor may charge all the same: the estimate counts as spent, status `unknown`.
        """


class AnswerCache(Protocol):
    """Keeps answers for those who ask the very same again. Losing them is no fault."""

    async def find(self, key: str) -> dict[str, Any] | None:
        """Find what is kept under a key."""

    async def keep(self, key: str, answer: dict[str, Any], ttl_s: float) -> None:
        """Keep an answer for so many seconds."""


@dataclass(frozen=True)
class Passage:
    """One request that wants to be sent.

    Args:
        provider: the vendor.
        model: its id of the model.
        ticket: who asks, the same each time it comes back for this question: it keeps its place in a queue by it.
        run: runs take turns where there is a queue.
        tokens: most that it may use, as far as one can tell.
    """

    provider: str
    model: str
    ticket: str = ""
    run: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class Admission:
    """Whether the gate lets a request through.

    Args:
        allowed: it may be sent.
        probe: it is the one request that tries an open breaker; its end must be told.
        failures: failures in a row so far; 0 spares telling a success.
        retry_in_s: when not allowed, seconds until it may be.
        reason: when not allowed, `rate`, or why the breaker opened: `failures`, `auth`, `quota` or `retired`.
        entry: its name in what the provider's rate has let through; empty where there is none.
        tokens: what it was let through with; 0 where tokens are not counted.
    """

    allowed: bool
    probe: bool = False
    failures: int = 0
    retry_in_s: float = 0.0
    reason: str = ""
    entry: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class OpenBreaker:
    """One open breaker, for `/health`; `model` is empty when the whole provider's is open."""

    provider: str
    model: str
    reason: str
    error: str
    retry_in_s: float


class Gate(Protocol):
    """Remembers, for all workers together, which models fail and how much each provider is asked."""

    async def enter(self, passage: Passage) -> Admission:
        """Ask whether a request may be sent now; when it may, its place in the rate is taken."""

    async def succeed(self, passage: Passage) -> None:
        """Tell that the vendor answered."""

    async def fail(self, passage: Passage, *, reason: str, error: str) -> bool:
        """Tell that it did not.

        Args:
            passage: what was sent.
            reason: `failures` counts one; `retired` opens the model's breaker, `auth` and `quota` the provider's.
            error: a line for people.

        Returns:
            Whether the breaker is open now.
        """

    async def withdraw(self, passage: Passage, admission: Admission) -> None:
        """Give back what was let through and never sent."""

    async def delay(self, passage: Passage, admission: Admission) -> None:
        """Tell that a request that was let through a while ago is sent only now."""

    def settle_soon(self, passage: Passage, admission: Admission, tokens: int) -> None:
        """Tell how many tokens it did use; returns at once."""
