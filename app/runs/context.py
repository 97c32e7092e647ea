"""What a handler is given beside its input."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from app.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.gateway.model import EmbeddingCall, Embeddings, ModelAnswer, ModelCall
    from app.gateway.ports import OnText
    from app.runs.claimed import Claimed
    from app.runs.ports import StepReader, StepSummary

    Ask = Callable[[ModelCall, int, OnText | None], Awaitable[ModelAnswer]]
    Embed = Callable[[EmbeddingCall, int], Awaitable[Embeddings]]


class HandlerContext:
    """The step as its handler sees it.

    A thread cannot be stopped from outside: when the step's time is up or its run is cancelled, the step ends at once,
    and a handler that still works learns it from `check_cancelled`.
    """

    def __init__(self, step: Claimed, deadline_s: float, reader: StepReader, ask: Ask, embed: Embed) -> None:
        self.run_id = step.run_id
        self.step_key = step.key
        self.owner = step.run_owner
        self.attempt = step.attempts
        self.deadline_s = deadline_s
        self._ends_at = time.monotonic() + deadline_s
        self._reader = reader
        self._ask = ask
        self._embed = embed
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Tell the handler that nobody waits for it any more."""
        self._stopped.set()

    def check_cancelled(self) -> None:
        """Raise when nobody waits for this step any more.

        Raises:
            ResourceError: the run was cancelled, the step was handed back, or its time limit passed.
        """
        if self._stopped.is_set() or time.monotonic() > self._ends_at:
            raise ResourceError("Nobody waits for this step any more.", code="stopped")

    def earlier_steps(self) -> list[StepSummary]:
        """List every step of the run in journal order, as it stands now."""
        return self._reader.read_steps(self.run_id)

    async def ask(self, call: ModelCall, *, part: int = 0, on_text: OnText | None = None) -> ModelAnswer:
        """Ask a model, paid for and written down as this step's."""
        return await self._ask(call, part, on_text)

    async def embed(self, call: EmbeddingCall, *, part: int = 0) -> Embeddings:
        """Place texts in a model's space, paid for and written down as this step's."""
        return await self._embed(call, part)
