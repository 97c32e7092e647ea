"""Keep rows aside honestly: later ones, or other people's, or whole questions; never the same person on both sides.

Symbols: n rows; a mask of shape (n,) is True for rows kept aside.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ml.frame import Array, Ints

Split = Literal["time", "group", "random"]

FEWEST_GROUPS = 10  # with fewer people, leaving some out says more about them than about the scorer


def choose_split(*, time: bool, groups: int) -> Split:
    """Name the most honest split the rows allow: by time, else by group, else by chance."""
    if time:
        return "time"
    return "group" if groups >= FEWEST_GROUPS else "random"


def keep_aside(split: Split, share: float, order: Array | None, unit: Ints, seed: int) -> Array:
    """Mark about a share of the rows.

    Args:
        split: by time (the latest), by group or by chance.
        share: of the rows, 0..1.
        order: shape (n,), sortable; only for time. Equal times stay on one side.
        unit: shape (n,): rows of one unit (person, question) stay together; only for group and random.
        seed: of the draw.
    """
    if split == "time" and order is not None:
        _, rank = np.unique(order, return_inverse=True)
        cut = np.sort(rank)[min(len(rank) - 1, int((1 - share) * len(rank)))]
        return np.greater_equal(rank, max(int(cut), 1))
    return np.equal(fold_of(unit, max(2, round(1 / share)), seed), 0)


def fold_of(unit: Ints, folds: int, seed: int) -> Ints:
    """Deal units to folds of about equal number: shape (n,), 0..folds-1."""
    _, place = np.unique(unit, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    dealt = np.random.default_rng(seed).permutation(count) % folds
    return np.asarray(dealt[place], dtype=np.int64)
