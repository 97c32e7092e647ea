"""What the simulated Anthropic remembers of its one customer, and how a test may change its ways."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from simulator.anthropic_cache import PromptCache


@dataclass
class Batch:
    """One batch that was handed in; `results` are the lines once it has ended."""

    batch_id: str
    requests: list[dict[str, Any]]
    created_at: float
    ends_at: float
    cancelled_at: float | None = None
    ended_at: float | None = None
    results: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class AnthropicAccount:
    """One account.

    Args:
        today: ISO date by which models are gone; empty for the day it is.
        clock_offset_s: added to the clock by which caches and batches live.
        retired: ids that are gone whatever the day.
        batch_delay_s: how long a batch created from now on takes.
        batch_outcomes: by `custom_id`: `canceled`, `expired`, or an error object for an item that fails.
        requests_a_minute: what the headers say; nobody is refused for it.
    """

    today: str = ""
    clock_offset_s: float = 0.0
    retired: list[str] = field(default_factory=list)
    batch_delay_s: float = 0.0
    batch_outcomes: dict[str, Any] = field(default_factory=dict)
    requests_a_minute: int = 4000
    served: int = 0
    cache: PromptCache = field(default_factory=PromptCache)
    batches: dict[str, Batch] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def now(self) -> float:
        """Tell the time as this account sees it, in seconds."""
        return time.time() + self.clock_offset_s

    def date(self) -> dt.date:
        """Tell the day by which models are gone."""
        if self.today:
            return dt.date.fromisoformat(self.today)
        return dt.datetime.fromtimestamp(self.now(), dt.UTC).date()

    def name(self, prefix: str) -> str:
        """Make an id, such as `msg_…`."""
        return f"{prefix}_{next(self.numbers):016d}"


def stamp(at: float | None) -> str | None:
    """Write a time as the wire does."""
    return None if at is None else dt.datetime.fromtimestamp(at, dt.UTC).isoformat().replace("+00:00", "Z")
