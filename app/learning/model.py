"""The registry's words: what is trained from, what came of it, which version serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

MAX_FEATURE_SET = 100
MAX_SCORER = 40


Columns = Mapping[str, Sequence[Any]]  # values by name, one a row; None is unknown


@dataclass(frozen=True)
class TrainingRows:
    """What a scorer learns from, oldest first; every sequence has one entry a row.

    Args:
        columns: attributes, and the items' ids under `item`.
        labels: 1 where the row was what people want, else 0.
        weights: how many showings a row stands for.
        times_s: when it was shown, seconds since 1970.
        item: name of the column that tells things apart which come again; None without one.
    """

    columns: Columns
    labels: Sequence[int]
    weights: Sequence[float]
    times_s: Sequence[float]
    item: str | None = None

    @property
    def samples(self) -> int:
        """How many showings there are."""
        return round(sum(self.weights))

    @property
    def positives(self) -> int:
        """How many of them were liked."""
        return round(sum(weight for weight, label in zip(self.weights, self.labels, strict=True) if label))


@dataclass(frozen=True)
class Trained:
    """A trained scorer that has not been put to use.

    Args:
        artifact: its text; never a pickle.
        card: rows, window, importances, data's hash.
        metrics: measured on rows it has not seen, by name.
        promotes: it is not worse than the running one, and than a plain baseline.
        reason: why so, for a person.
    """

    artifact: str
    card: dict[str, Any]
    metrics: dict[str, Any]
    promotes: bool
    reason: str


@dataclass(frozen=True)
class Version:
    """A version of a scorer.

    Args:
        number: counts from 1 over all scorers.
        status: `serving`, `retired` (served before), `kept` (was not better), `withdrawn` (rolled back).
        artifact: path below the artifacts folder.
        digest: SHA-256 of the artifact's bytes, hex.
        feature_set: which features it reads; another program version may read others.
    """

    number: int
    scorer: str
    status: str
    artifact: str
    digest: str
    feature_set: str
    card: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    run_id: str | None = None
    created_at: datetime | None = None
    promoted_at: datetime | None = None

    @property
    def name(self) -> str:
        """What scores call it."""
        return f"{self.scorer}-{self.number}"

    @property
    def outcome(self) -> dict[str, Any]:
        """What is said of the training that made it."""
        return {
            "status": "kept_previous" if self.status == "kept" else "trained",
            "reason": self.reason,
            "metrics": self.metrics,
            "version": self.name,
        }
