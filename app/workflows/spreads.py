"""Sums and maxima of amounts that are only known as a median and a ninth decile.

An amount is taken as log-normal, as prices and waiting times of model calls are: many near the median, a few far above.

    p50, p90   quantiles of one amount, in its own unit
    sigma      ln(p90 / p50) / z90, spread of its logarithm
    z90        1.2816, the ninth decile of the standard normal
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

Z90: Final = 1.2815515655446004
_SIGMA_MAX: Final = 2.0  # p90 thirteen times p50; beyond it the fitted mean is ruled by cases nobody has seen
_NEGLIGIBLE: Final = 1e-12  # dollars or seconds that are none; keeps squares away from zero
_HALVINGS: Final = 60  # of an interval: to the last bit of a float


@dataclass(frozen=True, slots=True)
class Spread:
    """An uncertain amount, not negative.

    Args:
        p50: as often below as above.
        p90: above in one of ten cases; at least p50.
    """

    p50: float
    p90: float

    def times(self, count: int) -> Spread:
        """Sum this many independent amounts of the kind."""
        return total_of([(self, count)])


NOTHING: Final = Spread(0, 0)


def total_of(amounts: Iterable[tuple[Spread, int]]) -> Spread:
    """Sum independent amounts, each as many times as said.

    The sum of medians is too low, that of ninth deciles too high: a thousand calls are not all dear at once.

    Returns:
        A log-normal of the same mean and variance as the sum; the amount itself when there is one.

    Source:
        Fenton, The sum of log-normal probability distributions in scatter transmission systems, 1960.
    """
    parts = [(amount, count) for amount, count in amounts if count > 0 and amount.p90 > _NEGLIGIBLE]
    if len(parts) == 1 and parts[0][1] == 1:
        return parts[0][0]
    mean = variance = 0.0
    for amount, count in parts:
        one_mean, one_variance = _moments(amount)
        mean += count * one_mean
        variance += count * one_variance
    if not mean:
        return NOTHING
    sigma = math.sqrt(math.log1p(variance / mean**2))
    median = mean * math.exp(-(sigma**2) / 2)
    return Spread(median, median * math.exp(Z90 * sigma))


def slowest_of(times: Iterable[tuple[Spread, int]]) -> Spread:
    """Take the largest of independent amounts, each as many times as said.

    Returns:
        Its exact median and ninth decile; of a hundred calls the slowest is no median call.
    """
    parts = [
        (_median(amount), _sigma(amount), count) for amount, count in times if count > 0 and amount.p90 > _NEGLIGIBLE
    ]
    if not parts:
        return NOTHING
    # Above this bound the product of all probabilities is over every quantile asked for.
    z_top = 2 + math.sqrt(2 * math.log(10 * sum(count for _, _, count in parts)))
    high = max(median * math.exp(z_top * sigma) for median, sigma, _ in parts)

    def below(amount: float) -> float:
        return math.prod(_probability_below(amount, median, sigma) ** count for median, sigma, count in parts)

    return Spread(_where(below, 0.5, high), _where(below, 0.9, high))


def _where(below: Callable[[float], float], probability: float, high: float) -> float:
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if below(middle) < probability:
            low = middle
        else:
            high = middle
    return high


def _probability_below(amount: float, median: float, sigma: float) -> float:
    if amount <= 0:
        return 0.0
    if not sigma:
        return 1.0 if amount >= median else 0.0
    return 0.5 * math.erfc(-math.log(amount / median) / (sigma * math.sqrt(2)))


def _moments(amount: Spread) -> tuple[float, float]:
    sigma = _sigma(amount)
    mean = _median(amount) * math.exp(sigma**2 / 2)
    return mean, mean**2 * math.expm1(sigma**2)


def _sigma(amount: Spread) -> float:
    if amount.p90 <= amount.p50:
        return 0.0
    return min(math.log(amount.p90 / amount.p50) / Z90, _SIGMA_MAX) if amount.p50 > 0 else _SIGMA_MAX


def _median(amount: Spread) -> float:
    # What is mostly free and sometimes not has no log-normal; one of the same ninth decile is near enough.
    return max(amount.p50, amount.p90 / math.exp(Z90 * _SIGMA_MAX))
