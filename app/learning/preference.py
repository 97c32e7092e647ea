"""The scorer of likes, over `ml/`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.learning.artifact_text import as_text, load_text
from app.learning.model import Columns, Trained, TrainingRows
from app.learning.ports import ScoredRows, Scorer, TooFewSamplesError, UnusableArtifactError

if TYPE_CHECKING:
    from ml import Preference
    from ml.frame import Array, Floats

PREFERENCE = "preference"
FEWEST_SAMPLES, FEWEST_POSITIVES = 100, 20  # below, the users' own Optimizer skips too
# Raised when `app/studio/examples.py` gives other columns: a scorer of another set does not fit.
FEATURE_SET = "structures-1"
DRAWS_SEED = 7  # the same structures are as uncertain tomorrow as today
DRAWS = 64  # of each row: a deviation from so many is off by a tenth
CHUNK = 4_000  # rows whose draws are held at once
SMOOTHING = (1.0, 2.0)  # likes and showings that everything has before it is shown, as in the rates that serve


class PreferenceScorer:
    """A scorer of `ml/` behind our port."""

    def __init__(self, scorer: Preference) -> None:
        self.scorer = scorer

    def score(self, columns: Columns) -> ScoredRows:
        """Score rows, and say how far draws of the posterior lie apart."""
        import numpy as np  # noqa: PLC0415 - a web process that explains nothing never loads the mathematics

        from ml import as_frame  # noqa: PLC0415 - the same

        frame = as_frame({name: list(values) for name, values in columns.items()})
        if not len(frame):
            return ScoredRows([], [])
        scores = self.scorer.score(frame)
        rng = np.random.default_rng(DRAWS_SEED)
        deviations: list[float] = []
        for begin in range(0, len(frame), CHUNK):
            part = frame.take(np.arange(begin, min(begin + CHUNK, len(frame))))
            deviations += [float(value) for value in self.scorer.draw(part, DRAWS, rng=rng).std(axis=0)]
        return ScoredRows([float(value) for value in scores], deviations)

    def explain(self, row: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Turn the parts' log odds into steps of probability, in their order: they add up to the score."""
        found = self.scorer.explain(dict(row))
        at = found.base
        steps = [("assumed before anything is known of it", _sigmoid(at))]
        for name, part in found.parts:
            steps.append((name, _sigmoid(at + part) - _sigmoid(at)))
            at += part
        return steps


class PreferenceLearner:
    """Trains and reads scorers of likes.

    Args:
        threads: of the training; None leaves one processor to everybody else.
    """

    scorer = PREFERENCE
    feature_set = FEATURE_SET

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or max((os.cpu_count() or 2) - 1, 1)

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        """Train; see the port."""
        samples, positives = data.samples, data.positives
        if samples < FEWEST_SAMPLES or positives < FEWEST_POSITIVES or positives == samples:
            raise TooFewSamplesError(
                f"{samples} showings with {positives} likes are too few to learn from; "
                f"{FEWEST_SAMPLES} with {FEWEST_POSITIVES} likes, and some without, are needed. Smoothed rates serve."
            )
        from ml import Options, Preference, fit  # noqa: PLC0415 - as above

        fitted = fit(
            {name: list(values) for name, values in data.columns.items() if name != data.item},
            list(data.labels),
            weight=list(data.weights),
            time=list(data.times_s),
            item=None if data.item is None else list(data.columns[data.item]),
            running=running.scorer if isinstance(running, PreferenceScorer) else None,
            options=Options(threads=self._threads, seed=seed, baseline=smoothed_rates),
        )
        if not isinstance(fitted, Preference):  # labels of 0 and 1 are likes
            raise UnusableArtifactError("The labels are no likes.")
        card = fitted.card
        metrics = {**card.metrics, "samples": samples, "positives": positives, "held_out": card.held_out}
        return Trained(as_text(fitted), card.to_json(), metrics, card.verdict.promote, card.verdict.reason)

    def load(self, artifact: str) -> Scorer:
        """Read a saved scorer; see the port."""
        from ml import Preference, load  # noqa: PLC0415 - as above

        loaded = load_text(load, artifact)
        if not isinstance(loaded, Preference):
            raise UnusableArtifactError("It is no scorer of likes.")
        return PreferenceScorer(loaded)


def smoothed_rates(items: Array, labels: Floats, weights: Floats, asked: Array) -> Floats:
    """Score items by what serves while no scorer does: (likes + 1) / (shown + 2) of each.

    Args:
        items: shape (n,), of known rows.
        labels: shape (n,), 1 for a like.
        weights: shape (n,), showings a row stands for.
        asked: shape (m,), items to score.

    Returns:
        shape (m,); a half for an item that was never shown.
    """
    import numpy as np  # noqa: PLC0415 - as above

    names, code = np.unique(np.concatenate([items, asked]).astype(str), return_inverse=True)
    known = code[: len(items)]
    liked = np.bincount(known, weights=labels * weights, minlength=len(names))
    shown = np.bincount(known, weights=weights, minlength=len(names))
    rates = (liked + SMOOTHING[0]) / (shown + SMOOTHING[1])
    return np.asarray(rates[code[len(items) :]], dtype=np.float64)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
