"""Logs that say which request, run and step they are about, as text or as JSON a line."""

from __future__ import annotations

import contextlib
import logging
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s%(about)s"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_ABOUT: ContextVar[dict[str, str] | None] = ContextVar("batuta_log_about", default=None)


def set_up_logs(level: str, form: str) -> None:
    """Set the process's logging up; each process does so once, at its start.

    Args:
        level: least level that is logged.
        form: `text`, or `json` for one object a line.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)


@contextlib.contextmanager
def about(**facts: str) -> Iterator[None]:
    """Put facts such as `run` and `step` on every line that is logged within; empty ones are left out."""
    token = _ABOUT.set({**(_ABOUT.get() or {}), **{name: fact for name, fact in facts.items() if fact}})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def tell_about(**facts: str) -> None:
    """Put facts on every line from now on, in place of all earlier ones; for a thread that takes request by request."""
    _ABOUT.set({name: fact for name, fact in facts.items() if fact})


def fact(name: str) -> str:
    """Give one of the facts; empty when it is not known here."""
    return (_ABOUT.get() or {}).get(name, "")


class TextFormatter(logging.Formatter):
    """Lines for people, the facts in brackets at their end."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        facts = " ".join(f"{name}={fact}" for name, fact in (_ABOUT.get() or {}).items())
        record.about = f" [{facts}]" if facts else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """Write the message on one line, whoever's words are in it: no line of ours can be forged in them."""
        record.message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], record.message)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `logger`, `message`, the facts, and `error` with its stack."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        line: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **(_ABOUT.get() or {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()
