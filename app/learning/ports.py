"""What the registry needs: somebody who can learn, and scorers that can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.errors import BatutaError
from app.learning.model import Columns, Trained, TrainingRows


class UnusableArtifactError(BatutaError):
    """A saved scorer is missing, broken, or reads other features; another one has to serve."""

    code = "unusable_artifact"


class LibraryMissingError(BatutaError):
    """What scorers are trained and read with cannot be loaded on this host; the message says what to do."""

    code = "library_missing"


class TooFewSamplesError(BatutaError):
    """There is not enough to learn from; nothing was trained."""

    code = "too_few_samples"


@dataclass(frozen=True)
class ScoredRows:
    """Scores of rows, in their order.

    Args:
        scores: P(wanted), 0..1.
        deviations: how uncertain each is, as a standard deviation.
    """

    scores: list[float]
    deviations: list[float]


class Scorer(Protocol):
    """A trained scorer, loaded."""

    def score(self, columns: Columns) -> ScoredRows:
        """Score rows; columns it does not know are passed over, absent ones are unknown."""
        ...

    def explain(self, row: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Give what each feature adds to a row's score, the base first; all of it adds up to the score."""
        ...


class Learner(Protocol):
    """Trains scorers of one kind."""

    scorer: str
    feature_set: str

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        """Train on past rows, and compare on later ones with the running scorer and a plain baseline.

        Raises:
            TooFewSamplesError: rows or likes do not suffice.
            ImportError, OSError: its library cannot be loaded; so may `load`.
        """
        ...

    def load(self, artifact: str) -> Scorer:
        """Read a saved scorer.

        Raises:
            UnusableArtifactError: it is broken, or of another kind.
        """
        ...
