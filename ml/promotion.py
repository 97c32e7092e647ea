"""Who may speak: a new scorer replaces the running one only when rows neither has seen do not speak against it."""

from __future__ import annotations

import numpy as np

from ml.card import Verdict
from ml.frame import Array, Floats
from ml.metrics import interval

FEWEST_TO_JUDGE = 30  # rows; with fewer, the interval says nothing


def judge(difference: Floats, groups: Array, *, rival: bool) -> Verdict:
    """Compare two scorers row by row.

    Args:
        difference: shape (n,), log loss of the new one minus the other's on rows kept aside.
        groups: whose rows they are: resampled whole.
        rival: whether the other is a running scorer (the new one must not be surely worse) or the plain baseline (the
            new one must be better on average).
    """
    name = "running scorer" if rival else "plain baseline"
    mean = float(np.mean(difference)) if len(difference) else 0.0
    if len(difference) < FEWEST_TO_JUDGE:
        if rival:
            return Verdict(promote=False, reason=f"{len(difference)} rows are too few to replace a running scorer")
        return Verdict(
            promote=True, reason=f"{len(difference)} rows are too few to compare; nothing runs yet", difference=mean
        )
    low, high = interval(difference, groups)
    promote = (mean <= 0 or low <= 0) and mean <= _MARGIN if rival else mean < 0
    word = "not worse than" if promote else "worse than"
    reason = f"{word} the {name}: log loss {mean:+.4f} (95 %: {low:+.4f} to {high:+.4f}) on {len(difference)} rows"
    return Verdict(promote, reason, mean, (low, high))


_MARGIN = 0.01  # nats a row: a worse mean than this is never promoted, however wide the interval
