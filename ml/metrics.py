"""How good scores are, and how sure we are of it.

Symbols: n rows, y labels 0/1, p probabilities, s scores (any monotone scale). All arrays have shape (n,).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from ml.frame import Array, Floats

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1, or one surprise would weigh infinitely


def auc(y: Array, s: Array) -> float:
    """Give the share of (positive, negative) pairs in the right order; ties count half; .5 when one class is absent."""
    positives = int(np.sum(y == 1))
    negatives = len(y) - positives
    if positives == 0 or negatives == 0:
        return 0.5
    ranks = rankdata(s)
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_error(y: Array, s: Array, groups: Array) -> float:
    """Give the standard error of `auc`; rows of one group are not independent.

    Each row's influence is how far its share of pairs in the right order is from the mean of its class; influences of a
    group are added up before they are squared. Never less than if every row stood alone: few groups say little of that.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; grouped as in Obuchowski, Biometrics 53, 1997.
    """
    positive = y == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return 0.5
    own = np.empty(len(y))
    own[positive], own[~positive] = rankdata(s[positive]), rankdata(s[~positive])
    placed = (rankdata(s) - own) / np.where(positive, negatives, positives)
    share = np.where(positive, placed, 1 - placed)
    influence = (share - auc(y, s)) / np.where(positive, positives, negatives)
    _, inverse = np.unique(groups, return_inverse=True)
    together = (np.bincount(inverse, weights=influence) ** 2).sum()
    return float(np.sqrt(max(together, (influence**2).sum())))


def log_losses(y: Array, p: Array) -> Floats:
    """Give each row's negative log-likelihood in nats."""
    q = np.clip(np.asarray(p, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    return np.asarray(-(y * np.log(q) + (1 - y) * np.log1p(-q)), dtype=np.float64)


def calibration_bins(y: Array, p: Array, bins: int = 10) -> list[tuple[float, float, int]]:
    """Group rows by predicted probability into bins of equal size.

    Returns:
        (mean predicted, observed share, rows) a bin, lowest first; empty bins are left out.
    """
    parts = np.array_split(np.argsort(p, kind="stable"), bins)
    return [(float(p[part].mean()), float(y[part].mean()), len(part)) for part in parts if len(part)]


def calibration_error(y: Array, p: Array, bins: int = 10) -> float:
    """Give the mean distance between predicted and observed share, weighted by rows."""
    found = calibration_bins(y, p, bins)
    return sum(abs(predicted - seen) * rows for predicted, seen, rows in found) / max(1, len(y))


def macro_f1(truth: Array, guess: Array) -> float:
    """Give the mean F1 over the classes that occur in either."""
    values = []
    for name in np.unique(np.concatenate([truth, guess])):
        hit = float(np.sum((truth == name) & (guess == name)))
        values.append(2 * hit / max(1.0, float(np.sum(truth == name) + np.sum(guess == name))))
    return float(np.mean(values))


def top_hits(question: Array, y: Array, s: Array) -> Floats:
    """Tell for each question whether its best score is its chosen row; ties share the hit.

    Returns:
        shape (questions,), in the order of the questions' sorted ids.
    """
    _, inverse = np.unique(question, return_inverse=True)
    count = int(inverse.max()) + 1 if len(inverse) else 0
    best = np.full(count, -np.inf)
    np.maximum.at(best, inverse, s)
    top = s >= best[inverse]
    ties = np.bincount(inverse, weights=top, minlength=count)
    return np.asarray(np.bincount(inverse, weights=top * y, minlength=count) / np.maximum(ties, 1), dtype=np.float64)


def recovered_gap(weak: Array, strong: Array, gain: Array) -> float:
    """Give APGR: the area under the share of the weak-to-strong gap won back, over the share of strong calls.

    Args:
        weak: quality of the cheap model, row by row.
        strong: quality of the strong model.
        gain: the router's score; the highest go to the strong model first. Ties keep the expected order.
    """
    gap = float(np.mean(strong) - np.mean(weak))
    if gap == 0.0:
        return 0.5
    difference = strong - weak
    _, inverse = np.unique(-gain, return_inverse=True)
    size = np.bincount(inverse)
    mean = np.bincount(inverse, weights=difference) / size
    won = np.concatenate([[0.0], np.cumsum(mean[np.sort(inverse)])]) / (len(gain) * gap)
    return float(np.mean((won[1:] + won[:-1]) / 2))


def interval(
    values: Array, groups: Array, *, statistic: Callable[[Array], float] | None = None, draws: int = 400, seed: int = 7
) -> tuple[float, float]:
    """Bootstrap whole groups, as rows of one person are not independent.

    Args:
        values: shape (n,) or (n, c): what the statistic looks at.
        groups: who each row belongs to.
        statistic: of resampled values; the mean when not given.
        draws: resamples.
        seed: of the resampling.

    Returns:
        The 2.5 % and 97.5 % quantiles.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    if statistic is None:
        found = _resampled_means(values, inverse, draws, rng)
        return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))
    order = np.argsort(inverse, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1)
    found = []
    for _ in range(draws):
        picked = rng.integers(len(members), size=len(members))
        found.append(statistic(values[np.concatenate([members[i] for i in picked])]))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _resampled_means(values: Array, group: Array, draws: int, rng: np.random.Generator) -> list[float]:
    """Resample groups by their sums and sizes alone: rows need not be copied for a mean."""
    sums, sizes = np.bincount(group, weights=values), np.bincount(group)
    means = []
    for _ in range(draws):
        picked = rng.integers(len(sums), size=len(sums))
        means.append(float(sums[picked].sum() / sizes[picked].sum()))
    return means
