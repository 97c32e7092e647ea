"""Put chat's agents together for the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.chat.agents import PLANNER, REPORTING, Answering, Parts
from app.chat.model import FIRST_STEP
from app.chat.planning import Planning, Reporting
from app.chat.service import WARM_UP
from app.chat.warming import WarmingUp
from app.runs.ports import Handler

if TYPE_CHECKING:
    from app.chat.ports import PlanReader
    from app.runs.ports import HandlerCatalog


@dataclass(frozen=True)
class ChatAgents:
    """The agents of chat.

    Args:
        parts: what answering needs.
        reader: knows what a written plan may hold.
    """

    parts: Parts
    reader: PlanReader

    def register(self, handlers: HandlerCatalog) -> None:
        """Let documents name them; in a run that is no chat they refuse."""
        parts = self.parts
        planning = Planning(parts.store, self.reader, parts.told, history_tokens=parts.history_tokens)
        named = (
            (FIRST_STEP, Answering(parts).answer, "Answers a chat's message, or acknowledges it"),
            (PLANNER, planning.plan, "Writes and checks the workflow of a chat of category H"),
            (REPORTING, Reporting(parts.store, parts.told).report, "Tells a chat's session what came of its workflow"),
            (WARM_UP, WarmingUp(parts.prices, parts.told).warm, "Warms up for a chat that is about to begin"),
        )
        for name, call, purpose in named:
            handlers.agent(Handler(name, call, purpose=purpose))
