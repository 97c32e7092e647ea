"""Who should take a task, or which kind it is: one of many names, learned from who did.

Symbols: n rows · s sparse columns · C names · B weights, shape (s + 1, C), the last row the names' base rates.
P(name | row) = softmax of x·B. Weights shrink to 0, so that a name with few rows stays near its base rate. Later rows
count more (HALF_LIFE_ROWS) where times are known, as people come, go and change what they do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from scipy.special import softmax

from ml import artifact
from ml.card import Card, Verdict
from ml.choosing import DRAWS, Pick, pick
from ml.errors import ArtifactError, RowsError
from ml.frame import Array, Floats, Frame, Rows, as_frame, as_text, is_numeric
from ml.metrics import calibration_bins, macro_f1
from ml.preference import Explanation
from ml.promotion import judge, unseen_by
from ml.splits import choose_split, keep_aside
from ml.table import Options, Table
from ml.traits import Traits

SHRINKAGE = 2.0  # prior precision of every weight
HALF_LIFE_ROWS = 6_000.0  # a row so many rows back counts half, but never less than OLDEST
OLDEST = 0.1
STEPS = 60  # of the optimiser; the order of names no longer changes
MOST_SHOWN = 20


@dataclass(frozen=True)
class Roster:
    """A fitted scorer of names.

    Args:
        traits: the encoding.
        names: shape (C,), sorted.
        weights: B, shape (s + 1, C).
        variances: of B, same shape: the diagonal of its posterior.
        card: facts.
    """

    traits: Traits
    names: tuple[str, ...]
    weights: Floats
    variances: Floats
    card: Card

    def probabilities(self, rows: Rows) -> Floats:
        """Give P(name | row), shape (n, C), columns in the order of `names`."""
        return np.asarray(softmax(self._utility(self.traits.matrix(as_frame(rows))), axis=1), dtype=np.float64)

    def score(self, rows: Rows, person: str | Sequence[str] | Array | None = None, *, threads: int = 1) -> Floats:
        """Give each row's P(person), shape (n,); without a person that of the likeliest name; 0 for one never seen."""
        del threads  # the algebra is too small to be worth several
        found = self.probabilities(rows)
        if person is None:
            return np.asarray(found.max(axis=1), dtype=np.float64)
        asked = [person] * len(found) if isinstance(person, str) else list(as_text(person))
        if len(asked) != len(found):
            raise RowsError(f"{len(asked)} persons for {len(found)} rows: give one name, or one a row")
        places = {name: j for j, name in enumerate(self.names)}
        columns = np.array([places.get(name, -1) for name in asked])
        return np.where(columns >= 0, found[np.arange(len(found)), columns], 0.0)

    def rank(self, rows: Rows, k: int = 3) -> list[list[tuple[str, float]]]:
        """Name the k likeliest for each row with their probabilities, best first, ties by name."""
        found = self.probabilities(rows)
        order = np.argsort(-found, axis=1, kind="stable")[:, :k]
        return [[(self.names[j], float(row[j])) for j in best] for row, best in zip(found, order, strict=True)]

    def explain(self, row: dict[str, Any], person: str | None = None) -> Explanation:
        """Say what speaks for a person (the likeliest, when not given) against the average name."""
        matrix = self.traits.matrix(as_frame([row]))
        utility = self._utility(matrix)[0]
        place = int(np.argmax(utility)) if person is None else self._place(person)
        relative = self.weights[:, place] - self.weights.mean(axis=1)
        parts: dict[str, float] = {}
        owners = self.traits.owners
        for column, value in zip(matrix.indices, matrix.data, strict=True):
            parts[owners[column]] = parts.get(owners[column], 0.0) + float(value * relative[column])
        ordered = sorted(parts.items(), key=lambda item: (-abs(item[1]), item[0]))
        return Explanation(float(relative[-1]), tuple(ordered), float(softmax(utility)[place]))

    def choose(
        self, rows: Rows, k: int, *, exploration_rate: float = 0.2, rng: np.random.Generator, person: str | None = None
    ) -> list[Pick]:
        """Choose k names for the one row given; `index` is a place in `names`."""
        del person  # names are what is chosen here
        frame = as_frame(rows)
        if len(frame) != 1:
            raise RowsError(f"{len(frame)} rows: names are chosen for one row at a time")
        matrix = self.traits.matrix(frame)
        utility = self._utility(matrix)[0]
        spread = np.sqrt((matrix.power(2) @ self.variances[:-1])[0] + self.variances[-1])
        draws = utility + spread * rng.standard_normal((DRAWS, len(self.names)))
        scores = np.asarray(softmax(utility), dtype=np.float64)
        return pick(scores, draws, k, exploration_rate=exploration_rate, rng=rng)

    def _place(self, person: str) -> int:
        if person not in self.names:
            raise RowsError(f"{person!r} is not among the {len(self.names)} names learned from")
        return self.names.index(person)

    def _utility(self, matrix: sp.csr_matrix) -> Floats:
        return np.asarray(matrix @ self.weights[:-1] + self.weights[-1], dtype=np.float64)

    def save(self, path: str | Path) -> None:
        """Write the scorer and its card as text."""
        body = {
            "traits": self.traits.to_json(),
            "names": list(self.names),
            "weights": artifact.pack(self.weights),
            "variances": artifact.pack(self.variances),
        }
        artifact.write(path, {"kind": "roster", "card": self.card.to_json(), "body": body})

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Roster:
        """Rebuild a scorer from what an artifact holds."""
        try:
            body = content["body"]
            scorer = cls(
                Traits.from_json(body["traits"]),
                tuple(body["names"]),
                artifact.unpack(body["weights"]),
                artifact.unpack(body["variances"]),
                Card.from_json(content["card"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the scorer's content is not what its kind needs: {error!r}") from error
        if scorer.weights.shape != (scorer.traits.width + 1, len(scorer.names)):
            raise ArtifactError(f"weights of shape {scorer.weights.shape} do not fit the scorer's columns and names")
        return scorer


def fit_roster(table: Table, options: Options, running: Roster | None) -> Roster:
    """Fit on everything, and measure on rows kept aside with a fit that has not seen them."""
    label = as_text(table.label) if is_numeric(table.label) else table.label
    if np.any(label == ""):
        raise RowsError(f"{int(np.sum(label == ''))} rows have no label: leave them out")
    if len(set(label.tolist())) < 2:  # noqa: PLR2004 - one name leaves nothing to choose
        raise RowsError("all rows have the same name: there is nothing to choose between")
    split = options.split or choose_split(time=table.time is not None, groups=len(table.persons))
    order = None if table.time is None else np.unique(table.time, return_inverse=True)[1]
    aside = keep_aside(split, options.held_out, order, table.unit, options.seed)
    scorer = _learn(table, label, options, split)
    measured = np.flatnonzero(aside)
    if not 0 < len(measured) < len(table):
        return scorer
    trained = _learn(table.take(~aside), label[~aside], options, split)
    return _measured(scorer, trained, (table.take(aside), label[aside], label[~aside]), running)


def _learn(table: Table, label: Array, options: Options, split: str) -> Roster:
    names, place = np.unique(label.astype(str), return_inverse=True)
    traits = Traits.fit(table.attributes, place, dict(options.kinds))
    weight = table.weight.copy()
    if table.time is not None:
        age = np.empty(len(weight))
        age[np.argsort(table.time, kind="stable")] = np.arange(len(weight))[::-1]
        weight *= OLDEST + (1 - OLDEST) * 0.5 ** (age / HALF_LIFE_ROWS)
    weights, variances = _softmax_fit(traits.matrix(table.attributes), place, len(names), weight)
    kinds = "|".join(f"{a.name}:{a.kind}" for a in traits.attributes)
    card = Card(
        kind="roster",
        method="softmax",
        rows=len(table),
        positives=len(names),
        persons=len(names),
        window=table.window,
        split=split,
        held_out=0,
        data_hash=table.attributes.fingerprint(),
        feature_set=hashlib.blake2b(kinds.encode(), digest_size=8).hexdigest(),
        importances=_importances(traits, weights),
        verdict=Verdict(promote=False, reason="no rows were kept aside to measure on"),
    )
    return Roster(traits, tuple(str(name) for name in names), weights, variances, card)


def _softmax_fit(matrix: sp.csr_matrix, place: Array, names: int, weight: Floats) -> tuple[Floats, Floats]:
    rows, width = matrix.shape
    turned = matrix.T.tocsr()
    scale = float(weight.sum())
    w = weight.astype(np.float32)[:, None]
    truth = np.zeros((rows, names), dtype=np.float32)
    truth[np.arange(rows), place] = 1.0

    def loss(flat: Floats) -> tuple[float, Floats]:
        b = flat.reshape(width + 1, names).astype(np.float32)
        p, logs = _shares(matrix @ b[:-1] + b[-1])
        error = (p - truth) * w
        slope = np.vstack([turned @ error + SHRINKAGE * b[:-1], error.sum(axis=0)[None] + 0.01 * b[-1:]])
        value = -float((w[:, 0] * logs[np.arange(rows), place]).sum())
        value += 0.5 * SHRINKAGE * float((b[:-1] ** 2).sum()) + 0.005 * float((b[-1] ** 2).sum())
        return value / scale, (slope / scale).ravel().astype(np.float64)

    start = np.zeros((width + 1) * names)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "maxcor": 6})
    b = found.x.reshape(width + 1, names)
    p, _ = _shares((matrix @ b[:-1] + b[-1]).astype(np.float32))
    curve = p * (1 - p) * w
    precision = np.vstack([turned.power(2) @ curve + SHRINKAGE, curve.sum(axis=0)[None] + 0.01])
    return b, np.asarray(1.0 / precision, dtype=np.float64)


def _shares(utility: Array) -> tuple[Array, Array]:
    utility = utility - utility.max(axis=1, keepdims=True)
    raised = np.exp(utility)
    total = raised.sum(axis=1, keepdims=True)
    return raised / total, utility - np.log(total)


def _importances(traits: Traits, weights: Floats) -> dict[str, float]:
    found: dict[str, float] = {}
    for owner, gain in zip(traits.owners, (weights[:-1] ** 2).sum(axis=1), strict=True):
        found[owner] = found.get(owner, 0.0) + float(gain)
    total = sum(found.values()) or 1.0
    return {name: gain / total for name, gain in sorted(found.items(), key=lambda i: (-i[1], i[0]))[:MOST_SHOWN]}


def _measured(scorer: Roster, trained: Roster, test: tuple[Table, Array, Array], running: Roster | None) -> Roster:
    table, truth, known = test
    frame = table.attributes
    names, counts = np.unique(known.astype(str), return_counts=True)
    share = dict(zip(names.tolist(), (counts / counts.sum()).tolist(), strict=True))
    losses = {"": _losses(trained, frame, truth), "baseline_": -np.log([max(1e-7, share.get(t, 0.0)) for t in truth])}
    metrics = _metrics("", trained, frame, truth)
    metrics["baseline_top1"] = float(np.mean(truth == max(share, key=lambda name: (share[name], name))))
    new = unseen_by(running.card.window if running else None, table.time, len(truth))
    if running is not None and new.any():
        losses["running_"] = _losses(running, frame, truth)
        metrics |= _metrics("running_", running, frame.take(new), truth[new])
    for name, values in losses.items():
        metrics[f"{name}log_loss"] = float(np.mean(values[new] if name == "running_" else values))
    gain = losses[""] - losses["baseline_"]
    over = losses[""] - losses.get("running_", losses["baseline_"])
    verdict = judge(gain, table.unit, over[new], table.unit[new])
    best = trained.probabilities(frame)
    right = (np.array(trained.names, dtype=object)[best.argmax(axis=1)] == truth).astype(np.float64)
    metrics["top1_error"] = float(np.std(right) / np.sqrt(len(right)))
    bins = calibration_bins(right, best.max(axis=1))
    return replace(
        scorer, card=replace(scorer.card, held_out=len(truth), metrics=metrics, calibration=bins, verdict=verdict)
    )


def _losses(scorer: Roster, frame: Frame, truth: Array) -> Floats:
    return np.asarray(-np.log(np.maximum(scorer.score(frame, truth), 1e-7)), dtype=np.float64)


def _metrics(prefix: str, scorer: Roster, frame: Frame, truth: Array) -> dict[str, float]:
    ranked = scorer.rank(frame, 3)
    first = np.array([best[0][0] for best in ranked], dtype=object)
    return {
        f"{prefix}top1": float(np.mean(first == truth)),
        f"{prefix}top3": float(
            np.mean([name in [n for n, _ in best] for name, best in zip(truth, ranked, strict=True)])
        ),
        f"{prefix}macro_f1": macro_f1(truth.astype(str), first.astype(str)),
    }
