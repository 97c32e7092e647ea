"""A learner that is easily understood: a structure's score is its share of likes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.learning.model import Columns, Trained, TrainingRows
from app.learning.ports import ScoredRows, Scorer, TooFewSamplesError, UnusableArtifactError


@dataclass(frozen=True)
class ShareScorer:
    """Scores by shares."""

    shares: dict[str, float]

    def score(self, columns: Columns) -> ScoredRows:
        scores = [self.shares.get(str(item), 0.5) for item in columns["item"]]
        return ScoredRows(scores, [0.1 for _ in scores])

    def explain(self, row: Mapping[str, Any]) -> list[tuple[str, float]]:
        return [("share of likes", self.shares.get(str(row["item"]), 0.5))]


@dataclass
class ShareLearner:
    """Learns shares; `promotes` is its verdict, `fails` what a training raises."""

    scorer = "preference"
    feature_set = "structures-1"
    fewest: int = 1
    promotes: bool = True
    fails: Exception | None = None
    trained_on: list[TrainingRows] = field(default_factory=list)

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        if self.fails is not None:
            raise self.fails
        if data.positives < self.fewest:
            raise TooFewSamplesError(f"{data.positives} likes are too few.")
        self.trained_on.append(data)
        counts: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for item, label, weight in zip(data.columns["item"], data.labels, data.weights, strict=True):
            counts[item][0] += label * weight
            counts[item][1] += weight
        shares = {item: liked / shown for item, (liked, shown) in counts.items()}
        text = json.dumps({"kind": "shares", "shares": shares})
        return Trained(text, {"rows": len(data.labels)}, {"auc": 0.7}, self.promotes, "as the test says")

    def load(self, artifact: str) -> Scorer:
        try:
            return ShareScorer(json.loads(artifact)["shares"])
        except (ValueError, KeyError):
            raise UnusableArtifactError("It is no scorer of shares.") from None
