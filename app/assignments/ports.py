"""What assignments need from the learned part, and the stand-ins while there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class MlStatus(StrEnum):
    """What a feedback meant for the learned part."""

    RETRAINED = "retrained"
    SCHEDULED = "scheduled"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Scores:
    """Answers of a learned scorer.

    Args:
        values: the probability, 0..1, that the assignment is accepted; one a row, in the rows' order.
        model_version: which model said so.
        weight: what a probability of 1 adds to the formula's score, as held-out feedback has it; above 0.
    """

    values: tuple[float, ...]
    model_version: str
    weight: float = 1.0


class AssignmentScorer(Protocol):
    """Foretell whether assignments will be accepted."""

    def score(self, rows: Sequence[Mapping[str, Any]]) -> Scores | None:
        """Score rows as `model.features` makes them.

        Returns:
            The scores; None while nothing learned serves. It never raises: a broken model is one that does not serve.
        """
        ...


class RetrainTrigger(Protocol):
    """Start a training when there is enough new feedback."""

    def feedback_arrived(self, waiting: int, threshold: int) -> MlStatus:
        """Say what becomes of a feedback; called after it is committed.

        Args:
            waiting: feedbacks that no training has used, this one included.
            threshold: how many of them start a training.

        Returns:
            What happened, honestly. It never raises: the feedback is stored whatever becomes of the training.
        """
        ...


class NoScorer:
    """Nothing learned serves."""

    def score(self, rows: Sequence[Mapping[str, Any]]) -> Scores | None:
        """Give nothing."""
        del rows
        return None


class NoTraining:
    """Nothing is trained."""

    def feedback_arrived(self, waiting: int, threshold: int) -> MlStatus:
        """Say that no training took place."""
        del waiting, threshold
        return MlStatus.SKIPPED
