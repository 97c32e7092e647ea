"""Answers are written whatever a run's steps have put out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.http.answers import dump


def _nested(depth: int) -> Any:
    value: Any = 10**30
    for _ in range(depth):
        value = [value]
    return value


def test_an_output_nested_deeper_than_the_fast_writer_goes_is_written_too() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    written = json.loads(dump({"at": moment, "cost": Decimal("0.1234567"), "output": _nested(480)}))
    assert written == {"at": moment.isoformat(), "cost": 0.123457, "output": _nested(480)}
