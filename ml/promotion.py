"""Who may speak: a new scorer must beat the plain baseline, and unseen rows must not favour the running one.

Symbols: difference = log loss of the new one minus the other's, row by row; below 0 the new one is better.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml.card import Verdict
from ml.frame import Array, Floats
from ml.metrics import interval

FEWEST_TO_JUDGE = 20  # rows: with fewer, one surprise decides
MARGIN = 0.01  # nats a row: a worse mean than this never replaces a running scorer, however wide the interval


def unseen_by(window: tuple[str, str] | None, time: Array | None, rows: int) -> npt.NDArray[np.bool_]:
    """Mark rows later than all a running scorer learned from; none where that cannot be known.

    Args:
        window: of the running scorer; None without one.
        time: shape (n,), of the rows; None without times.
        rows: n.
    """
    if window is None or time is None or not window[1]:
        return np.zeros(rows, dtype=bool)
    last = float(window[1]) if time.dtype.kind == "f" else window[1]
    return np.asarray([moment > last for moment in time], dtype=bool)


def judge(baseline: Floats, groups: Array, running: Floats, running_groups: Array) -> Verdict:
    """Compare a new scorer with the plain baseline and, where possible, with the running scorer.

    Args:
        baseline: difference to the baseline, shape (n,), on rows kept aside.
        groups: shape (n,), whose rows they are: resampled whole.
        running: difference to the running scorer on those rows it has not seen either; empty without any.
        running_groups: whose rows those are.
    """
    if len(baseline) < FEWEST_TO_JUDGE:
        return Verdict(promote=not len(running), reason=f"{len(baseline)} rows kept aside are too few to compare on")
    mean, (low, high) = float(np.mean(baseline)), interval(baseline, groups)
    against = _words("plain baseline", baseline, (low, high))
    if mean >= 0:
        return Verdict(promote=False, reason=f"not better than the {against}", difference=mean, interval=(low, high))
    if len(running) < FEWEST_TO_JUDGE:
        unseen = f"; {len(running)} rows a running scorer has not seen are too few to compare with it"
        return Verdict(promote=True, reason=f"better than the {against}{unseen}", difference=mean, interval=(low, high))
    mean, (low, high) = float(np.mean(running)), interval(running, running_groups)
    promote = mean <= MARGIN and low <= 0
    word = "not worse" if promote else "worse"
    reason = f"{word} than the {_words('running scorer', running, (low, high))}"
    return Verdict(promote, reason, mean, (low, high))


def _words(name: str, difference: Floats, found: tuple[float, float]) -> str:
    low, high = found
    spread = f"(95 %: {low:+.4f} to {high:+.4f}) on {len(difference)} rows"
    return f"{name}: log loss {np.mean(difference):+.4f} {spread}"
