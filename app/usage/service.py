"""What monitors and people ask about the use of models."""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING

from app.usage.model import Totals, start_of_day

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from app.usage.model import Costs, ModelUsage
    from app.usage.store import PgUsage

LATELY = dt.timedelta(hours=24)
"""How far back figures of how a model does look: long enough for a daily batch, short enough to show an outage."""

SETTLED_AFTER_DAYS = 1
"""A call is settled within its step's time limit; a day later its row does not change any more."""


def utc_now() -> dt.datetime:
    """Tell the time."""
    return dt.datetime.now(dt.UTC)


class UsageService:
    """Sums over the ledger.

    Days that are over are summed once a process, so that a scrape reads two days and not a year.

    Args:
        store: reads the ledger.
        now: the time.
    """

    def __init__(self, store: PgUsage, now: Callable[[], dt.datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._lock = threading.Lock()
        self._sealed = Totals()
        self._sealed_until: dt.datetime | None = None

    def totals(self) -> Totals:
        """Sum up every call that was ever settled."""
        now = self._now()
        with self._lock:
            begins = self._seal(now)
            sealed = self._sealed
        return sealed if begins is None else sealed + self._store.totals(begins, now)

    def _seal(self, now: dt.datetime) -> dt.datetime | None:
        """Sum what is over; returns from where on there is more, None while the ledger is empty."""
        until = start_of_day(now.date() - dt.timedelta(days=SETTLED_AFTER_DAYS))
        begins = self._sealed_until or self._store.first_call_at()
        if begins is None:
            return None
        if begins < until:
            self._sealed = self._sealed + self._store.totals(begins, until)
            begins = until
        self._sealed_until = begins
        return begins

    def models(self) -> dict[str, ModelUsage]:
        """Say how each model did in the last 24 hours."""
        return self._store.models(self._now() - LATELY)

    def costs(self) -> Costs:
        """Say what was spent today, in seven days, and on an average video."""
        today = start_of_day(self._now().date())
        return self._store.costs(today, today - dt.timedelta(days=6))

    def in_flight(self) -> dict[tuple[str, str], int]:
        """Count the calls under way, by provider and model."""
        return self._store.in_flight(self._now() - LATELY)

    def runs_by_status(self) -> dict[str, int]:
        """Count the runs that are kept."""
        return self._store.runs_by_status()

    def workers_by_role(self) -> dict[str, int]:
        """Count the processes whose lease holds."""
        return self._store.workers_by_role()

    def committed_today_usd(self) -> Decimal:
        """Give what of the day's budget is spent or set aside."""
        return self._store.committed_today_usd()
