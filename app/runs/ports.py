"""What the engine needs from outside, and what it lends to agents and tools."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from app.errors import BatutaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from app.gateway.media_ports import JobLedger
    from app.gateway.model import EmbeddingCall, Embeddings, ModelAnswer, ModelCall
    from app.gateway.ports import CallLedger, OnText
    from app.runs.claimed import Claimed
    from app.runs.model import Send
    from app.workflows.model import Block


@dataclass(frozen=True)
class StepSummary:
    """What a step of the same run did so far.

    Args:
        error: `{"code", "message"}` or None.
        parent: the key of the `for_each` whose item it is.
    """

    key: str
    kind: str
    target: str
    status: str
    output: Any
    error: dict[str, Any] | None
    reason: str | None = None
    parent: str | None = None


class StepContext(Protocol):
    """What an agent or tool is given beside its input.

    `attempt` counts claims from 1; `deadline_s` is what was left of the time limit when the handler was called.
    """

    run_id: str
    step_key: str
    owner: str
    attempt: int
    deadline_s: float

    def check_cancelled(self) -> None:
        """Raise when the run was cancelled or the time limit passed; long work calls it now and then."""

    def earlier_steps(self) -> list[StepSummary]:
        """List every step of the run in journal order, as it stands now."""


class ModelContext(StepContext, Protocol):
    """What a handler is given that asks models."""

    async def ask(self, call: ModelCall, *, part: int = 0, on_text: OnText | None = None) -> ModelAnswer:
        """Ask a model, paid for and written down as this step's; only a handler on the loop can wait for it.

        Args:
            call: the question.
            part: its number among the handler's questions; after a crash the same part finds the same answer.
            on_text: takes the answer's pieces as they come.

        Raises:
            StepParked: money, rate or breaker do not allow it now; let it pass, and the handler is called again.
            StepError: as the gateway says.
        """

    async def embed(self, call: EmbeddingCall, *, part: int = 0) -> Embeddings:
        """Place texts in a model's space, paid for and written down as this step's; `part` and errors as `ask`."""


@dataclass(frozen=True)
class Grown:
    """What a handler returns that adds blocks to its own run, in the transaction that ends its step.

    Args:
        output: the step's output.
        blocks: parsed ones. Their indexes count from the block after the step's own and may leave gaps, which blocks
            added later can fill; keys are new to the run.
        variables: for the new blocks; what the run has under the same name stays.
    """

    output: Any
    blocks: tuple[Block, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Handler:
    """One agent or tool.

    Args:
        name: what documents call it.
        call: takes the context and the rendered input, returns JSON, or a `Grown`. A plain function runs in a worker
            thread, an `async def` on the worker's loop. It can run more than once for a step; its docstring says why
            that is harmless.
        timeout_s: its own time limit; None takes the task's or `STEP_TIMEOUT_S`.
        purpose: a line for people.
        slots: names and numbers of shared places it needs, over all workers.
    """

    name: str
    call: Callable[[ModelContext, dict[str, Any]], Any]
    timeout_s: float | None = None
    purpose: str = ""
    slots: tuple[tuple[str, int], ...] = ()

    @property
    def is_async(self) -> bool:
        """Whether the handler runs on the loop."""
        return inspect.iscoroutinefunction(self.call)


class DuplicateHandlerError(BatutaError):
    """Two agents, or two tools, of one name."""

    code = "duplicate_handler"


@dataclass
class HandlerCatalog:
    """The agents and tools of this installation; filled by the composition root, then only read."""

    agents: dict[str, Handler] = field(default_factory=dict)
    tools: dict[str, Handler] = field(default_factory=dict)

    def agent(self, handler: Handler) -> None:
        """Add an agent."""
        _add(self.agents, handler)

    def tool(self, handler: Handler) -> None:
        """Add a tool."""
        _add(self.tools, handler)


def _add(handlers: dict[str, Handler], handler: Handler) -> None:
    if handler.name in handlers:
        raise DuplicateHandlerError(f"There are two handlers named {handler.name!r}.")
    handlers[handler.name] = handler


class StepReader(Protocol):
    """Reads the steps of a run."""

    def read_steps(self, run_id: str) -> list[StepSummary]:
        """List them in journal order."""


@dataclass(frozen=True)
class ModelOutcome:
    """What a model step made: its output, the logical name of the model that made it, whether it was a kept answer."""

    output: Any
    model: str
    cached: bool = False


class ModelSteps(Protocol):
    """Does model steps; implemented over the gateway."""

    def slots_of(self, step: Claimed) -> tuple[tuple[str, int], ...]:
        """Name the shared places that a step needs, as `Handler.slots`."""

    async def perform(self, step: Claimed, ledger: JobLedger) -> ModelOutcome:
        """Ask the step's model, along its fallbacks."""

    async def ask(
        self, call: ModelCall, ledger: CallLedger, on_text: OnText | None = None, *, patient: bool = False
    ) -> ModelAnswer:
        """Ask what a handler wants to know; one that is patient may wait for a vendor's batch."""

    async def embed(self, call: EmbeddingCall, ledger: CallLedger) -> Embeddings:
        """Place a handler's texts in a model's space."""


class StepAssets(Protocol):
    """Knows the images that steps begin from."""

    async def refer(self, images: Iterable[str], owner: str, holder: str) -> None:
        """Check that the assets among some images are images of an owner's, and keep them as long as the holder.

        Raises:
            FatalError: one is not.
        """


class FailureExplainer(Protocol):
    """Says in a person's words why a step failed for good; implemented by `app/runs/explaining.py`."""

    def explains(self, run_kind: str) -> bool:
        """Say whether steps of such a run are explained."""

    async def explain(self, step: Claimed, error: dict[str, Any], ledger: CallLedger) -> str:
        """Explain a failure, soon, with a ledger that neither parks the step nor pauses its run."""


class StepSender(Protocol):
    """Sends the messages of ready steps; implemented by `app/runs/celery_sender.py`."""

    def send(self, sends: Iterable[Send]) -> None:
        """Publish once; raise on the first failure, recovery sends the rest."""


class QueueDepths(Protocol):
    """Knows how many messages wait."""

    def depths(self) -> dict[str, int]:
        """Map each queue to the number of its waiting messages."""
