"""Read the text of one variable, or say in a `ValueError` what it must be."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

# croniter's own additions (L, W, #, ?) are left out: Celery does not know them.
_CRON_NAME = r"(\d{1,2}|[a-z]{3})"
_CRON_PART = re.compile(rf"(\*|{_CRON_NAME}(-{_CRON_NAME})?)(/\d{{1,2}})?", re.ASCII | re.IGNORECASE)
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)  # croniter looks fifty years ahead of it


def text(raw: str) -> str:
    """Take a text as it is."""
    return raw


def names(raw: str) -> tuple[str, ...]:
    """Split at commas."""
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def flag(raw: str) -> bool:
    """Read a switch."""
    if raw.lower() in {"1", "true", "yes", "on"}:
        return True
    if raw.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be 1 or 0")


def one_of(*words: str) -> Callable[[str], str]:
    """Make a reader of one of some words, in whatever case they are written."""

    def read(raw: str) -> str:
        if raw.lower() not in words:
            raise ValueError(f"must be {', '.join(words[:-1])} or {words[-1]}")
        return raw.lower()

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of whole numbers within bounds, both included."""

    def read(raw: str) -> int:
        with contextlib.suppress(ValueError):
            if low <= int(raw) <= high:
                return int(raw)
        raise ValueError(f"must be a whole number from {low} to {high}")

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of numbers within bounds, both included."""

    def read(raw: str) -> float:
        with contextlib.suppress(ValueError):
            if low <= float(raw) <= high:  # nan is not
                return float(raw)
        raise ValueError(f"must be a number from {low} to {high}")

    return read


def money(raw: str) -> Decimal:
    """Read an amount of dollars."""
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise ValueError("must be an amount of dollars") from None
    if not value.is_finite() or value < 0:
        raise ValueError("must be an amount of dollars, 0 or more")
    return value


def url(raw: str) -> str:
    """Read an address of HTTP, without a slash at its end."""
    if not re.fullmatch(r"https?://[^\s/]+(/[^\s]*)?", raw):
        raise ValueError("must be an http or https address")
    return raw.rstrip("/")


def database_url(raw: str) -> str:
    """Read a PostgreSQL address, and write it as SQLAlchemy wants it."""
    if not re.match(r"postgres(ql)?(\+psycopg2)?://", raw):
        raise ValueError("must start with postgresql://")
    return re.sub(r"^postgres(ql)?(\+psycopg2)?://", "postgresql+psycopg2://", raw)


def redis_url(raw: str) -> str:
    """Read a Redis address."""
    if not re.match(r"(rediss?|unix)://", raw):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return raw


def zone(raw: str) -> str:
    """Read the name of a time zone."""
    try:
        ZoneInfo(raw)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be the name of a time zone, such as Europe/Madrid") from None
    return raw


def cron(raw: str) -> str:
    """Read a cron line that Celery and croniter understand alike, and that comes true some day; `off` is empty."""
    if raw.lower() == "off":
        return ""
    parts = raw.split()
    if len(parts) != 5:  # noqa: PLR2004 - minute hour day month weekday
        raise ValueError("must have five fields: minute hour day month weekday")
    if not all(_CRON_PART.fullmatch(part) for field in parts for part in field.split(",")):
        raise ValueError("may hold numbers, names of months and weekdays, and * - / , only")
    try:
        croniter(raw, _SOME_DAY).get_next()
    except CroniterBadDateError:
        raise ValueError("names a day that no year has") from None
    return raw


def log_format(raw: str) -> str:
    """Read a form of log lines."""
    if raw.lower() not in {"text", "json"}:
        raise ValueError("must be text or json")
    return raw.lower()


def level(raw: str) -> str:
    """Read a level of logging."""
    if raw.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ValueError("must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
    return raw.upper()
