"""Write scores into the base in lots of 10; a record that is refused costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
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
        refusals: list[PersistentError] = []
        for at in range(0, len(rows), LOT):
            check_cancelled()
            refusals += self._write_lot(rows[at : at + LOT])
            if len(refusals) == at + len(rows[at : at + LOT]) and len(refusals) > 1:
                raise refusals[-1]  # nothing was taken so far: it is not a record but the table
        problem = f"Airtable: {len(refusals)} of {len(rows)} scores were refused." if refusals else None
        return {"written": len(rows) - len(refusals), "missing": len(refusals), "problem": problem}

    def _write_lot(self, lot: list[tuple[str, float]]) -> list[PersistentError]:
        """Write a lot; when one of its records is refused, each of it alone.

        Returns:
            The refusals, one a record.
        """
        try:
            self._base.update_scores(lot)
        except PersistentError as error:
            if not _blames_a_record(error):
                raise
            return [error] if len(lot) == 1 else [refusal for row in lot for refusal in self._write_lot([row])]
        return []


def _blames_a_record(error: PersistentError) -> bool:
    """Whether a record may be at fault: Airtable says 422 or 404 of one that is gone, and 404 of a table, too."""
    return error.code == "airtable_refused" or error.details.get("status") == HTTPStatus.NOT_FOUND
