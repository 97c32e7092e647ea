"""The crowd's taste as gradient boosted trees, in a form that can be saved as text.

Symbols: n rows, t columns, margin = log odds as the trees see them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np

from ml.errors import ArtifactError
from ml.frame import Array, Floats

MOST_ROUNDS = 400
PATIENCE = 30  # rounds without a gain on the rows kept aside
MANY_ROWS = 20_000  # from here trees may have more leaves
BINNED_ROWS = 50_000  # that tell where bins end when rows come in pieces: a quantile from so many is off by .2 %
PIECE_ROWS = 8_192  # encoded at once: a megabyte or two, and few calls
RARE_SHARE = 0.05  # a rarer class is weighted up by the square root of the odds; what follows takes it back out

# Of rows that come in pieces: no second copy of the bins; fewer steps, each longer, as a million rows leave little to
# overfit: a third of the time to grow and to score, for .0015 of AUC on simulated likes.
MANY = {"force_row_wise": False, "force_col_wise": True, "learning_rate": 0.15}
MOST_ROUNDS_OF_MANY = 150
THREADS = re.compile(r"^\[num_threads: \d+\]$", re.MULTILINE)

Forest = tuple[lgb.Booster, ...]  # boosters whose margins are averaged; grown on different rows


@dataclass(frozen=True)
class TreeRows:
    """What trees are grown on.

    Args:
        matrix: shape (n, t), float32 or float64, NaN for unknown.
        label: shape (n,), 0/1.
        weight: shape (n,).
        question: shape (n,), int64, rows of one id were shown together and one was chosen; None: each row alone.
    """

    matrix: Array
    label: Array
    weight: Array
    question: Array | None = None

    def take(self, rows: Array) -> TreeRows:
        """Copy some rows."""
        question = None if self.question is None else self.question[rows]
        return TreeRows(self.matrix[rows], self.label[rows], self.weight[rows], question)


@dataclass(frozen=True)
class Growth:
    """How trees are grown.

    Args:
        names: of the columns.
        categorical: columns that are codes.
        monotone: column's name to 1 (more never hurts) or -1 (more never helps).
        threads: of LightGBM; the result does not depend on it.
        seed: of rows and columns left out by chance.
        overrides: parameters of LightGBM's own, for those who know better.
    """

    names: Sequence[str]
    categorical: Sequence[int] = ()
    monotone: Mapping[str, int] = field(default_factory=dict)
    threads: int = 1
    seed: int = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, rows: int, positive_share: float, *, many: bool = False) -> dict[str, Any]:
        """Spell the parameters for LightGBM; `many` rows come in pieces."""
        out: dict[str, Any] = {
            "objective": "binary",
            "learning_rate": 0.05,
            "num_leaves": 31 if rows >= MANY_ROWS * 5 else 15 if rows >= MANY_ROWS else 7,
            "min_data_in_leaf": int(np.clip(rows // 400, 5, 100)),
            "feature_fraction": 0.8,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 1.0,
            "cat_smooth": 20.0,
            "cat_l2": 10.0,
            "max_cat_to_onehot": 8,
            "num_threads": self.threads,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            "metric": "binary_logloss",
        }
        if self.monotone:
            out["monotone_constraints"] = [int(self.monotone.get(name, 0)) for name in self.names]
        if 0 < positive_share < RARE_SHARE:
            out["scale_pos_weight"] = float(np.sqrt((1 - positive_share) / positive_share))
        return {**out, **(MANY if many else {}), **self.overrides}


@dataclass(frozen=True)
class TreeStream:
    """What trees are grown on when there is too much of it to be held twice.

    Args:
        encode: gives the rows of sorted places: shape (places, t), float32 or float64, NaN for unknown.
        label: shape (n,), 0/1.
        weight: shape (n,).
    """

    encode: Callable[[Array | slice], Array]
    label: Array
    weight: Array


def grow_until_enough(rows: TreeRows, growth: Growth, aside: Array, *, most: int = MOST_ROUNDS) -> lgb.Booster:
    """Grow until the rows kept aside gain nothing more.

    Args:
        rows: all rows; binned once, so that keeping some aside copies one byte a value, not eight.
        growth: how.
        aside: places of the rows kept aside, sorted.
        most: rounds at most.
    """
    inside = np.ones(len(rows.label), dtype=bool)
    inside[aside] = False
    parameters = growth.parameters(int(inside.sum()), float(rows.label.mean()))
    data = _dataset(rows.matrix, rows, growth, parameters).construct()
    train = data.subset(np.flatnonzero(inside).tolist(), params=parameters)
    valid = data.subset(aside.tolist(), params=parameters)
    if rows.question is None:
        return _grown(train, valid, parameters, most)
    learned, watched = (Choices(rows.question[part], rows.label[part], rows.weight[part]) for part in (inside, aside))
    parameters |= {"objective": learned.slopes, "metric": "none"}
    return _grown(train, valid, parameters, most, watched.loss)


def grow_from_stream(
    rows: TreeStream, growth: Growth, inside: Array, aside: Array, *, most: int = MOST_ROUNDS_OF_MANY
) -> lgb.Booster:
    """Do as `grow_until_enough`, with a byte a value: rows are encoded and binned piece by piece.

    Args:
        rows: where they come from.
        growth: how.
        inside: places of the rows to grow on, sorted.
        aside: places of the rows kept aside, sorted.
        most: rounds at most.
    """
    parameters = growth.parameters(len(inside), float(rows.label.mean()), many=True)
    few = inside
    if len(inside) > BINNED_ROWS:
        few = inside[np.sort(np.random.default_rng(growth.seed).choice(len(inside), BINNED_ROWS, replace=False))]
    bins = _dataset(rows.encode(few), TreeStream(rows.encode, rows.label[few], rows.weight[few]), growth, parameters)
    bins.construct()
    train, valid = (
        lgb.Dataset(
            _Pieces(rows.encode, places),
            rows.label[places],
            weight=_weight(rows.weight[places]),
            reference=bins,
            params=parameters,
        ).construct()
        for places in (inside, aside)
    )
    return _grown(train, valid, parameters, most)


class _Pieces(lgb.Sequence):
    """Encoded rows, read in order and never all at once."""

    batch_size = PIECE_ROWS

    def __init__(self, encode: Callable[[Array | slice], Array], places: Array) -> None:
        self._encode, self._places = encode, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int | slice | list[int]) -> Array:
        places = np.atleast_1d(self._places[index])
        if places[-1] - places[0] + 1 == len(places):  # neighbours: a view will do
            return self._encode(slice(int(places[0]), int(places[-1]) + 1))
        return self._encode(places)


class Choices:
    """The likelihood of choices as LightGBM asks for it: slopes to grow by, and a loss to stop by.

    Args:
        question: shape (n,), rows of one id were shown together.
        label: shape (n,), 1 for the one that was chosen.
        weight: shape (n,).
    """

    def __init__(self, question: Array, label: Array, weight: Array) -> None:
        _, self._place = np.unique(question, return_inverse=True)
        self._label, self._weight = label, weight

    def _chances(self, utility: Array) -> Floats:
        highest = np.full(int(self._place.max(initial=-1)) + 1, -np.inf)
        np.maximum.at(highest, self._place, utility)
        raised = np.exp(utility - highest[self._place])
        return np.asarray(raised / np.bincount(self._place, weights=raised)[self._place], dtype=np.float64)

    def slopes(self, utility: Array, _data: lgb.Dataset | None) -> tuple[Floats, Floats]:
        """Give each row's slope and curvature of the loss."""
        p = self._chances(utility)
        return self._weight * (p - self._label), self._weight * np.maximum(p * (1 - p), 1e-6)

    def loss(self, utility: Array, _data: lgb.Dataset | None) -> tuple[str, float, bool]:
        """Give the mean loss of a choice; less is better."""
        chosen = self._label == 1
        losses = -np.log(np.maximum(self._chances(utility)[chosen], 1e-12))
        return "choice_loss", float(np.average(losses, weights=self._weight[chosen])), False


def _grown(
    train: lgb.Dataset,
    valid: lgb.Dataset,
    parameters: dict[str, Any],
    most: int,
    loss: Callable[[Array, lgb.Dataset], tuple[str, float, bool]] | None = None,
) -> lgb.Booster:
    stopping = lgb.early_stopping(PATIENCE, verbose=False)
    return shortened(lgb.train(parameters, train, most, valid_sets=[valid], feval=loss, callbacks=[stopping]))


def shortened(booster: lgb.Booster) -> lgb.Booster:
    """Drop the trees after the best round, and the training data with them."""
    best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    return lgb.Booster(model_str=booster.model_to_string(num_iteration=best))


def margins(forest: Forest, matrix: Array, *, threads: int = 1) -> Floats:
    """Give the log odds of each row, the mean of the boosters', shape (n,)."""
    total = np.zeros(len(matrix))
    for booster in forest:
        total += np.asarray(booster.predict(matrix, raw_score=True, num_threads=threads))
    return total / len(forest)


def contributions(forest: Forest, matrix: Array) -> Floats:
    """Split each margin over the columns, the expectation last: shape (n, t + 1); they add up to the margin."""
    parts = [np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=1)) for booster in forest]
    return np.asarray(np.mean(parts, axis=0), dtype=np.float64)


def gains(forest: Forest) -> Floats:
    """Give each column's total gain, shape (t,)."""
    return np.asarray(np.sum([booster.feature_importance("gain") for booster in forest], axis=0), dtype=np.float64)


def to_text(booster: lgb.Booster) -> str:
    """Spell the trees in LightGBM's own text format, but for the threads that grew them: they are no part of them."""
    return THREADS.sub("[num_threads: 1]", str(booster.model_to_string()))


def from_text(text: str) -> lgb.Booster:
    """Read what `to_text` wrote."""
    try:
        return lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        raise ArtifactError(f"the trees cannot be read: {error}") from error


def _dataset(matrix: Array, rows: TreeRows | TreeStream, growth: Growth, parameters: dict[str, Any]) -> lgb.Dataset:
    return lgb.Dataset(
        matrix,
        rows.label,
        weight=_weight(rows.weight),
        feature_name=[f"c{j}" for j in range(len(growth.names))],  # a name with a colon or quote breaks its text
        categorical_feature=list(growth.categorical),
        params=dict(parameters),
        free_raw_data=True,
    )


def _weight(weight: Array) -> Array | None:
    return None if np.all(weight == 1.0) else weight
