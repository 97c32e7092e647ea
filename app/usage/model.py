"""Sums over calls, and how two of them add up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

Key = TypeVar("Key")

DURATION_BUCKETS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histogram of answer times, in seconds; `+Inf` follows."""

TOKEN_KINDS = ("input", "output", "cache_read", "cache_write")


@dataclass(frozen=True)
class CallGroup:
    """Which calls a sum is over.

    Args:
        provider: the vendor.
        model: logical name.
        stage: the agent that asked, else the kind of run.
    """

    provider: str
    model: str
    stage: str


@dataclass(frozen=True)
class CallSums:
    """What settled calls of one group come to.

    Args:
        by_status: how many ended `answered`, `rejected`, `failed` or `unknown`.
        tokens: by `TOKEN_KINDS`.
        cost_usd: dollars.
        durations: answered calls by `DURATION_BUCKETS_S`, not cumulated, the last for longer ones.
        seconds: of all answered calls together.
        repeated: calls that were not the first of their question.
    """

    by_status: Mapping[str, int]
    tokens: Mapping[str, int]
    cost_usd: Decimal
    durations: tuple[int, ...]
    seconds: float
    repeated: int

    def __add__(self, other: CallSums) -> CallSums:
        return CallSums(
            by_status=_added(self.by_status, other.by_status),
            tokens=_added(self.tokens, other.tokens),
            cost_usd=self.cost_usd + other.cost_usd,
            durations=tuple(a + b for a, b in zip(self.durations, other.durations, strict=True)),
            seconds=self.seconds + other.seconds,
            repeated=self.repeated + other.repeated,
        )


@dataclass(frozen=True)
class Totals:
    """Sums by group, and how often one model stood in for another."""

    groups: Mapping[CallGroup, CallSums] = field(default_factory=dict)
    fallbacks: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def __add__(self, other: Totals) -> Totals:
        groups = dict(self.groups)
        for group, sums in other.groups.items():
            groups[group] = groups[group] + sums if group in groups else sums
        return Totals(groups, _added(self.fallbacks, other.fallbacks))


@dataclass(frozen=True)
class ModelUsage:
    """How one logical model did lately; times in seconds, None where nothing was answered."""

    calls: int
    errors: int
    p50_s: float | None
    p95_s: float | None
    tokens: int
    cost_usd: Decimal
    cache_hit_rate: float

    @property
    def error_rate(self) -> float:
        """Calls that brought nothing, of all."""
        return self.errors / self.calls if self.calls else 0.0


@dataclass(frozen=True)
class Costs:
    """Dollars spent; `average_per_video_usd` is None before the first video."""

    today_usd: Decimal
    last_7_days_usd: Decimal
    average_per_video_usd: Decimal | None


def _added(a: Mapping[Key, int], b: Mapping[Key, int]) -> dict[Key, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in {**a, **b}}


def sum_up(parts: Iterable[Totals]) -> Totals:
    """Add any number of totals."""
    total = Totals()
    for part in parts:
        total = total + part
    return total


def start_of_day(day: dt.date) -> dt.datetime:
    """Give midnight, UTC, at which a day of the ledger begins."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)
