"""Prices for routes, from the registry."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from app.gateway.prices import MILLION, MILLIONTH
from app.gateway.service import utc_today

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from app.gateway.model import ModelAnswer
    from app.gateway.registry import Registry, Target

EXPECTED_SHARE = Decimal(3)
"""An answer seldom uses more than a third of its allowance."""


class RegistryPrices:
    """What models cost here; implements `Prices`.

    Args:
        registry: reads the models; called when first needed.
        providers: names of those that are configured.
    """

    def __init__(self, registry: Callable[[], Registry], providers: Callable[[], Collection[str]]) -> None:
        self._registry = registry
        self._providers = providers

    def available(self, model: str) -> bool:
        """Whether some configured provider serves it."""
        return self._target(model) is not None

    def estimate_usd(self, model: str, prompt_tokens: int) -> Decimal:
        """Estimate what an answer to so long a prompt will cost, about."""
        target = self._target(model)
        if target is None:
            return Decimal(0)
        rates = target.offer.prices.rates_for(prompt_tokens)
        expected = rates.input * prompt_tokens + rates.output * target.logical.max_tokens / EXPECTED_SHARE
        return (expected / MILLION).quantize(MILLIONTH)

    def same_tokens_usd(self, model: str, answer: ModelAnswer) -> Decimal:
        """Compute what another model would have cost with an answer's tokens, none of them from a cache.

        A cache of another model's would hold other texts; the answer's own was paid for at its own rates.
        """
        target = self._target(model)
        if target is None or answer.model == model:
            return answer.cost_usd
        usage = answer.usage
        rates = target.offer.prices.rates_for(usage.prompt_tokens)
        dollars = (rates.input * usage.prompt_tokens + rates.output * usage.output_tokens) / MILLION
        return dollars.quantize(MILLIONTH)

    def _target(self, model: str) -> Target | None:
        targets = self._registry().route(model, self._providers(), utc_today()).targets
        return targets[0] if targets else None
