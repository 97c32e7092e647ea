"""When the day's batch is due. Pure: the clock and what was tried come as arguments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

MOST_TRIES = 3  # of a day's batch, when it fails or is refused
RETRY_PAUSE = timedelta(minutes=10)
GRACE = timedelta(minutes=10)  # by which a beat may be late even where nothing is to be caught up
_SHIFT = timedelta(hours=3)  # no zone moves its clock by more


@dataclass(frozen=True)
class Tried:
    """What was already tried for a firing.

    Args:
        tries: scheduled batches that were started for it.
        last_ended_at: when the last one ended.
        active: a daily batch is under way, whoever started it.
        satisfied: a daily batch has succeeded since the firing.
    """

    tries: int = 0
    last_ended_at: datetime | None = None
    active: bool = False
    satisfied: bool = False


def last_firing(now: datetime, cron: str, zone: str) -> datetime:
    """Find the schedule's last instant that is not after now.

    A wall-clock time that a shift to summer time leaves out fires as much later; one that comes twice in autumn fires
    the first time only.

    Args:
        now: aware.
        cron: five fields, meant in `zone`.
        zone: a name such as Europe/Madrid.

    Returns:
        The instant, in UTC.
    """
    there = ZoneInfo(zone)
    wall = now.astimezone(there).replace(tzinfo=None)
    times = croniter(cron, wall + _SHIFT, ret_type=datetime)
    best: datetime | None = None
    while True:
        fired = times.get_prev(datetime)
        instant = fired.replace(tzinfo=there).astimezone(UTC)
        if instant <= now and (best is None or instant > best):
            best = instant
        if best is not None and fired < wall - _SHIFT:
            return best


def due_firing(now: datetime, cron: str, zone: str, catch_up_h: float) -> datetime | None:
    """Find the firing that may still be served at this moment; None when the last one lies too far back."""
    fired = last_firing(now, cron, zone)
    return fired if now - fired <= max(timedelta(hours=catch_up_h), GRACE) else None


def next_try(now: datetime, tried: Tried) -> int | None:
    """Say which try of a firing is to be started now, from 1; None when none is.

    Any successful batch since the firing satisfies it. A failed or refused one leaves the day open, for three tries
    with ten minutes between them.
    """
    if tried.satisfied or tried.active or tried.tries >= MOST_TRIES:
        return None
    if tried.last_ended_at is not None and now - tried.last_ended_at < RETRY_PAUSE:
        return None
    return tried.tries + 1
