"""Write scores into the base in lots of 10; a record that is refused costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.errors import PersistentError
from app.studio.ports import StudioBase

LOT = 10  # the most Airtable takes at once


class ScoreWriter:
    """Writes scores by record id."""

    def __init__(self, base: StudioBase) -> None:
        self._base = base

    def write(self, scores: Mapping[str, float], check_cancelled: Callable[[], None]) -> dict[str, Any]:
        """Write all of them.

        Returns:
            `written`, `missing` (records the base refused), `problem` in words when any is missing.

        Raises:
            StepError: the base is away, or lets nobody write; a further call writes all again.
            StepParked: the base's rate is used up for a while.
        """
        rows = sorted(scores.items())
        missing = 0
        for at in range(0, len(rows), LOT):
            check_cancelled()
            missing += self._write_lot(rows[at : at + LOT])
        problem = f"Airtable: {missing} of {len(rows)} scores were refused." if missing else None
        return {"written": len(rows) - missing, "missing": missing, "problem": problem}

    def _write_lot(self, lot: list[tuple[str, float]]) -> int:
        """Write a lot; when it is refused, each of it alone. Gives how many were refused."""
        try:
            self._base.update_scores(lot)
        except PersistentError as error:
            if error.code != "airtable_refused":
                raise
        else:
            return 0
        if len(lot) == 1:
            return 1
        return sum(self._write_lot([row]) for row in lot)
