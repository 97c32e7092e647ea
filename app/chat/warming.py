"""Warm up for a chat that is about to begin: connections, and vendors' caches of what every question begins with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from app.chat.model import CATEGORIZER, FAST
from app.errors import StepError, StepParked
from app.gateway.model import ModelCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.chat.ports import Prices
    from app.runs.ports import ModelContext

logger = logging.getLogger(__name__)

GREETING = "Hello"
TOKENS = 16  # the least that every vendor takes
TIMEOUT_S = 15.0


class WarmingUp:
    """The agent `chat_warmup`: asks the two small models something short.

    The run's cap of a cent bounds what it can cost; a model that does not answer is left cold.

    Args:
        prices: knows which models can be asked.
        told: what stands before every question to a model.
    """

    def __init__(self, prices: Prices, told: Callable[[str], tuple[str, ...]]) -> None:
        self._prices = prices
        self._told = told

    async def warm(self, context: ModelContext, given: dict[str, Any]) -> dict[str, Any]:
        """Ask, and say what was warmed.

        Repeat-safe: the answers are found in the ledger, and nobody uses them.
        """
        del given
        done = []
        for part, model in enumerate((CATEGORIZER, FAST)):
            if not self._prices.available(model):
                continue
            call = ModelCall(
                model=model,
                prompt=GREETING,
                system=self._told(model),
                config={"max_tokens": TOKENS},
                fallback=(),
                timeout_s=TIMEOUT_S,
            )
            try:
                said = await context.ask(call, part=part)
            except StepParked as parked:
                if parked.reason in {"budget", "fenced"}:
                    raise
                break
            except StepError as error:
                logger.info("%s stays cold: %s", model, error)
                continue
            done.append(f"{said.model} at {said.provider}")
        return {"done": done}
