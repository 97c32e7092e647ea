"""What is logged: one line a record, with what it is about."""

from __future__ import annotations

import json
import logging

import pytest

from app.logs import TEXT, JsonFormatter, TextFormatter, about, tell_about

FORGED = "the vendor said\n2026-11-20 09:00:00 INFO app: all is well\x1b[2J"


@pytest.fixture(autouse=True)
def about_nothing() -> None:
    """Nothing of what another test was about."""
    tell_about()


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("app.test", logging.WARNING, __file__, 1, "%s", (message,), None)


@pytest.mark.parametrize("formatter", [TextFormatter(TEXT), JsonFormatter()])
def test_whoevers_words_are_in_it_a_record_stays_one_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record(FORGED))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "all is well" in line


def test_a_stack_keeps_its_lines() -> None:
    failed = record("it failed")
    failed.exc_info = (ValueError, ValueError("no"), None)
    assert TextFormatter(TEXT).format(failed).splitlines()[1:] == ["ValueError: no"]


def test_a_line_says_which_run_and_step_it_is_about() -> None:
    with about(run="r1", step="a", request=""):
        text, written = TextFormatter(TEXT).format(record("x")), json.loads(JsonFormatter().format(record("x")))
    assert text.endswith("x [run=r1 step=a]")
    assert (written["run"], written["step"], written["message"]) == ("r1", "a", "x")
    assert "request" not in written
