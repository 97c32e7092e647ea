"""What chat needs from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from decimal import Decimal

    from app.chat.model import Asked, Chosen, Judgement
    from app.gateway.model import ModelAnswer
    from app.workflows.model import Workflow


class Categoriser(Protocol):
    """Tells L, M or H without asking a model; plain rules on a fresh machine, learned later."""

    def judge(self, message: str, context_tokens: int) -> Judgement:
        """Judge one message; quick, and the same for the same message as long as nothing is learned."""


@dataclass(frozen=True)
class Move:
    """A cheaper model that is expected to do as well, and on what evidence."""

    model: str
    evidence: str


class RouteScorer(Protocol):
    """Knows from judged outcomes where a cheaper model does; plain on a fresh machine, learned later."""

    def propose(self, asked: Asked, chosen: Chosen) -> Move | None:
        """Propose to move a single-model request down; None while the evidence does not bear it."""


class NoMoves:
    """Nothing is known yet, so nothing is moved; implements `RouteScorer`."""

    def propose(self, asked: Asked, chosen: Chosen) -> Move | None:  # noqa: ARG002 - as in the port
        """Leave everything where its category sends it."""
        return None


class Prices(Protocol):
    """What models cost and whether they can be asked, from the registry."""

    def available(self, model: str) -> bool:
        """Whether some configured provider serves it."""

    def estimate_usd(self, model: str, prompt_tokens: int) -> Decimal:
        """Estimate what an answer to so long a prompt will cost, about; 0 where nobody serves it."""

    def same_tokens_usd(self, model: str, answer: ModelAnswer) -> Decimal:
        """Compute what another model would have cost with the tokens that an answer took."""


class PlanReader(Protocol):
    """Knows what a workflow that a model wrote may hold."""

    def describe(self) -> str:
        """Tell a model what it may write: the form, the models, the addons, the limits."""

    def read(self, said: str, request: str) -> Workflow:
        """Read and check what a model wrote.

        Args:
            said: its answer, the document somewhere in it.
            request: what the person wrote; paid images and film are only taken where it asks for such a thing.

        Raises:
            DocumentInvalidError: every problem at its place.
        """
