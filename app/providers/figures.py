"""Figures that vendors report of an answer. What cannot be true is not believed: it would be booked as money."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

MOST_TOKENS: Final = 100_000_000
"""Of one kind in one answer; many times what any model takes."""

MOST_DOLLARS: Final = Decimal(10_000)
"""For one answer."""


def count_of(value: Any) -> int:
    """Read a count of tokens; 0 when there is none, or none that can be."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return value if is_count and 0 < value <= MOST_TOKENS else 0


def dollars_of(value: Any) -> Decimal | None:
    """Read a vendor's own price of an answer; None when there is none, or none that can be."""
    if value is None or isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= MOST_DOLLARS else None


def are_counted(*counts: Any) -> bool:
    """Tell whether a vendor counted an answer: each count can be, 0 and none at all included, and one is above 0."""
    credible = all(value is None or value == 0 or count_of(value) > 0 for value in counts)
    return credible and any(map(count_of, counts))
