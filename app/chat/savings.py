"""What routing saved and what it cost in quality, with how sure that is. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

FEWEST_JUDGED = 30
"""Judged answers of either kind below which a loss is not told: one verdict would decide."""

Z_95 = 1.959964


@dataclass(frozen=True)
class Share:
    """Good answers of those that were judged."""

    good: int
    judged: int

    @property
    def rate(self) -> float:
        """Good ones of the judged; 0 when there are none."""
        return self.good / self.judged if self.judged else 0.0

    def interval(self) -> tuple[float, float]:
        """Give Wilson's 95 % interval of the rate."""
        if not self.judged:
            return 0.0, 1.0
        n, p, z2 = self.judged, self.rate, Z_95**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Loss:
    """How much rarer good answers became.

    Args:
        mean: rate of the strong model's good answers less that of the others; below 0 nothing was lost.
        low: lower bound of its 95 % interval.
        high: upper bound.
    """

    mean: float
    low: float
    high: float


def measure_loss(routed: Share, strong: Share) -> Loss | None:
    """Compare answers of cheaper models with the strong one's to messages of the same kind, by Newcombe's interval.

    Returns:
        None when too few were judged to tell.
    """
    if min(routed.judged, strong.judged) < FEWEST_JUDGED:
        return None
    (a_low, a_high), (b_low, b_high) = routed.interval(), strong.interval()
    a, b = routed.rate, strong.rate
    below = math.hypot(b - b_low, a_high - a)
    above = math.hypot(b_high - b, a - a_low)
    return Loss(b - a, b - a - below, b - a + above)


@dataclass(frozen=True)
class Savings:
    """What came of the messages that one model answers.

    Args:
        since: when the first of them was sent, at the earliest.
        requests: how many were answered.
        moved: of those, moved down by the learned scorer.
        held_out: of those, sent to the strong model all the same.
        spent_usd: on them, categories and summaries included.
        saved_usd: against the strong model with the same tokens.
        cheaper: judged answers of cheaper models, whoever chose those; and of the strong model to messages held out
            from such.
        scored: the same of messages that the learned scorer moves.
    """

    since: datetime
    requests: int
    moved: int
    held_out: int
    spent_usd: Decimal
    saved_usd: Decimal
    cheaper: tuple[Share, Share]
    scored: tuple[Share, Share]

    @property
    def always_thinking_usd(self) -> Decimal:
        """What the strong model alone would have cost."""
        return self.spent_usd + self.saved_usd

    @property
    def moved_share(self) -> float:
        """Share of requests that the scorer moved."""
        return self.moved / self.requests if self.requests else 0.0

    def to_json(self) -> dict[str, Any]:
        """Show it; dollars as numbers."""
        return {
            "since": self.since.isoformat(),
            "requests": self.requests,
            "moved": self.moved,
            "moved_share": round(self.moved_share, 6),
            "held_out": self.held_out,
            "dollars_spent": float(self.spent_usd),
            "dollars_always_thinking": float(self.always_thinking_usd),
            "dollars_saved": float(self.saved_usd),
            "loss": show_comparison(*self.cheaper),
            "loss_of_moved": show_comparison(*self.scored),
        }


def show_comparison(routed: Share, strong: Share) -> dict[str, Any]:
    """Show a measured loss, from how many cases, or that there are too few."""
    loss = measure_loss(routed, strong)
    shown: dict[str, Any] = {
        "judged": routed.judged,
        "judged_held_out": strong.judged,
        "mean": None,
        "low": None,
        "high": None,
    }
    if loss is None:
        note = f"too few to tell: {FEWEST_JUDGED} judged answers of either kind are needed"
        return {**shown, "note": note}
    told = {name: round(value, 6) for name, value in (("mean", loss.mean), ("low", loss.low), ("high", loss.high))}
    return {**shown, **told, "note": "share of good answers lost, with its 95 % interval"}
