"""The plain rule a scorer must beat: the smoothed rate of the one attribute that tells most.

Symbols: n rows; rate of a level = (likes + SMOOTHING · overall rate) / (rows + SMOOTHING).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml.frame import Array, Floats, Frame, is_numeric
from ml.metrics import log_losses

SMOOTHING = 10.0  # rows the overall rate is worth in every level
BINS = 8  # of a number, of equal size
MOST_ROWS = 50_000  # looked at; rates do not get better from more


def plain_rates(train: Frame, label: Array, test: Frame) -> Floats:
    """Score test rows by the attribute whose smoothed rates explain the training rows best.

    Args:
        train: at least one row.
        label: shape (n,), 0/1, of the training rows.
        test: rows to score.

    Returns:
        shape (rows of test,), probabilities; the overall rate without attributes.
    """
    step = max(1, len(train) // MOST_ROWS)
    y = label[::step].astype(np.float64)
    overall = (y.sum() + 1) / (len(y) + 2)
    best, loss = np.full(len(test), overall), float(log_losses(y, np.full(len(y), overall)).mean())
    for known, asked in _coded(train, test, step):
        levels = int(max(known.max(initial=0), asked.max(initial=0))) + 1
        likes = np.bincount(known, weights=y, minlength=levels)
        rows = np.bincount(known, minlength=levels)
        own = (likes[known] - y + SMOOTHING * overall) / (rows[known] - 1 + SMOOTHING)  # a row does not vote for itself
        found = float(log_losses(y, own).mean())
        if found < loss:
            rates = (likes + SMOOTHING * overall) / (rows + SMOOTHING)
            best, loss = rates[asked], found
    return np.asarray(best, dtype=np.float64)


def _coded(train: Frame, test: Frame, step: int) -> Iterator[tuple[Array, Array]]:
    for name, whole in train.columns.items():
        column, asked = whole[::step], test.columns[name]
        if is_numeric(column):
            known = column[~np.isnan(column)]
            edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.zeros(0)
            yield np.searchsorted(edges, np.nan_to_num(column)), np.searchsorted(edges, np.nan_to_num(asked))
        else:
            both = np.concatenate([column, asked]).astype(str)
            _, code = np.unique(both, return_inverse=True)
            yield code[: len(column)], code[len(column) :]
