"""What was learned of chats as chat asks it: whatever version can be read serves, else the plain way does.

Asked in a thread, never on the loop: once in a while the registry is looked at, so that a promotion or a rollback
counts everywhere within REFRESH_S, and a new version is read there, once a process.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from app.chat.model import Category, Judgement
from app.chat.ports import Move
from app.chat.routing import LADDER
from app.chat.rules import PlainCategoriser
from app.learning.category import CATEGORY, CategoryModel
from app.learning.route import ROUTE, Candidate, RouteModel
from app.learning.service import Serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.chat.model import Asked, Chosen
    from app.chat.ports import Categoriser, Prices
    from app.learning.service import ScorerRegistry

logger = logging.getLogger(__name__)
REFRESH_S = 5.0


class Current:
    """The version that serves, looked up at most once in a while.

    Args:
        registry: the versions; asked for when first needed.
        scorer: which.
        refresh_s: seconds for which what was found counts.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        registry: Callable[[], ScorerRegistry],
        scorer: str,
        *,
        refresh_s: float = REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._scorer = scorer
        self._refresh_s = refresh_s
        self._clock = clock
        self._found = Serving()
        self._looked_at: float | None = None
        self._lock = threading.Lock()

    def get(self) -> Serving:
        """Give what serves. Who comes while somebody looks is given what served before, and does not wait."""
        if self._is_fresh() or not self._lock.acquire(blocking=False):
            return self._found
        try:
            if not self._is_fresh():
                self._found = self._look()
                self._looked_at = self._clock()
        finally:
            self._lock.release()
        return self._found

    def _is_fresh(self) -> bool:
        return self._looked_at is not None and self._clock() - self._looked_at < self._refresh_s

    def _look(self) -> Serving:
        try:
            return self._registry().serving(self._scorer)
        except Exception:
            # Whatever becomes of the learned part, chats are answered.
            logger.exception("the %s scorer could not be looked up; what served before goes on", self._scorer)
            return self._found


class LearnedCategoriser:
    """Tell categories by what was learned; implements `Categoriser`.

    Args:
        current: the version.
        plain: serves while there is none, or what there is fails.
    """

    def __init__(self, current: Current, plain: Categoriser | None = None) -> None:
        self._current = current
        self._plain = plain or PlainCategoriser()

    def judge(self, message: str, context_tokens: int) -> Judgement:
        """Judge one message; a confidence is only claimed for messages like those that were learned from."""
        serving = self._current.get()
        if serving.version is None or not isinstance(serving.scorer, CategoryModel):
            return self._plain.judge(message, context_tokens)
        try:
            guess = serving.scorer.guess(message)
            why = f"learned from {serving.scorer.rows} messages ({serving.version.name})"
            if not guess.sure:
                return Judgement(Category(guess.label), f"{why}, {guess.reason}")
            return Judgement(Category(guess.label), why, guess.probability)
        except Exception:
            # A message no scorer can read is still a message.
            logger.exception("the learned categories failed; plain rules serve")
            return self._plain.judge(message, context_tokens)


class LearnedRoutes:
    """Move requests down where the evidence bears it; implements `RouteScorer`.

    Args:
        current: the version.
        prices: what models cost, and whether they can be asked.
        max_loss: most loss of quality, as a share of good answers, that the upper bound of what is expected may reach.
    """

    def __init__(self, current: Current, prices: Prices, max_loss: float) -> None:
        self._current = current
        self._prices = prices
        self._max_loss = max_loss

    def propose(self, asked: Asked, chosen: Chosen) -> Move | None:
        """Propose the cheapest lower model whose expected loss is small enough for sure."""
        if chosen.category is Category.H or chosen.model not in LADDER[1:]:
            return None
        serving = self._current.get()
        if serving.version is None or not isinstance(serving.scorer, RouteModel):
            return None
        try:
            candidates = self._candidates(asked, chosen)
            found = serving.scorer.choose(asked.message, chosen.category, candidates, self._max_loss)
        except Exception:
            # The documented route is always there.
            logger.exception("the learned routes failed; nothing is moved")
            return None
        if found is None or found.model == chosen.model:
            return None
        return Move(found.model, f"{found.evidence} ({serving.version.name})")

    def _candidates(self, asked: Asked, chosen: Chosen) -> list[Candidate]:
        """List the chosen model and those below it that can be asked and are no dearer, the cheapest first."""
        lower = LADDER[: LADDER.index(chosen.model)]
        price_usd = self._prices.estimate_usd(chosen.model, asked.tokens)
        known = [
            (name, self._prices.estimate_usd(name, asked.tokens)) for name in lower if self._prices.available(name)
        ]
        cheaper = [Candidate(name, usd) for name, usd in known if usd < price_usd]
        return [*sorted(cheaper, key=lambda one: one.price_usd), Candidate(chosen.model, price_usd)]


def current_category(registry: Callable[[], ScorerRegistry]) -> Current:
    """Make what looks up the scorer of categories."""
    return Current(registry, CATEGORY)


def current_route(registry: Callable[[], ScorerRegistry]) -> Current:
    """Make what looks up the scorer of routes."""
    return Current(registry, ROUTE)
