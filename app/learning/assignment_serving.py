"""The learned part of assignments as doors ask it: whatever version can be read serves, else nothing does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from app.assignments.ports import Scores
from app.learning.assignment import ASSIGNMENT, AssignmentModel, as_columns
from app.learning.service import ScorerRegistry

logger = logging.getLogger(__name__)


class LearnedAssignments:
    """Foretell acceptance with the version that serves; implements `AssignmentScorer`.

    Args:
        registry: the versions. It is asked each time, so that a promotion or a rollback counts at once everywhere.
    """

    def __init__(self, registry: ScorerRegistry) -> None:
        self._registry = registry

    def score(self, rows: Sequence[Mapping[str, Any]]) -> Scores | None:
        """Score rows; None while nothing learned serves, or what serves cannot."""
        try:
            serving = self._registry.serving(ASSIGNMENT)
            if serving.version is None or not isinstance(serving.scorer, AssignmentModel):
                return None
            values = serving.scorer.score(as_columns(rows)).scores
            return Scores(tuple(values), serving.version.name, serving.scorer.weight)
        except Exception:
            # The formula serves whatever becomes of the learned part.
            logger.exception("the learned part of assignments failed; the formula serves")
            return None
