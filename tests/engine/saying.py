"""Figures and seeds of a trial, for people."""

from __future__ import annotations


def say(line: str) -> None:
    """Say a line; pytest shows it when the test fails, and with `-s`."""
    print(line)  # noqa: T201 - said to whoever runs the tests
