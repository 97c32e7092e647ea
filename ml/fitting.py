"""Fit a scorer of likes: trees for the crowd, tastes for each person, measured on rows kept aside.

Below MANY_ROWS a scorer is fitted twice: once without the rows kept aside, to be measured, and once on everything, to
serve. From there on once: what the last tenth of millions could add does not pay a second training.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from ml import booster
from ml.baseline import plain_rates
from ml.booster import Forest, Growth, TreeRows, TreeStream
from ml.card import Card, Verdict
from ml.encoding import Encoder
from ml.errors import RowsError
from ml.frame import Array, Floats
from ml.metrics import auc, auc_error, calibration_bins, calibration_error, log_losses
from ml.posterior import fit_tastes, learn_persons
from ml.preference import MOST_ITEMS, Layout, Preference, lay_out
from ml.promotion import judge, unseen_by
from ml.splits import Split, choose_split, fold_of, keep_aside
from ml.table import ItemRule, Options, Table
from ml.tastes import Evidence, Tastes

FEWEST_ROWS = 100  # below, smoothed rates serve
FEWEST_POSITIVES = 20  # the same, for likes and for dislikes
FOLDS = 5  # each booster scores the rows it has not seen; together, averaged, they serve
MANY_ROWS = 200_000
ASIDE_OF_MANY = 0.1  # half to stop the trees and fit the tastes on, half to measure
ROWS_OF_TASTES = 30_000  # of many rows, those that the crowd's weights and all variances are learned from
ROWS_OF_PERSONS = 100_000  # of many rows, those that persons' own tastes are learned from
ROWS_AT_ONCE = 20_000  # of those: what one lot takes is small beside many rows
LARGEST_DESIGN = 12_000_000  # numbers in the tastes' design: 100 MB
FEWEST_TO_CALIBRATE = 200
BELIEF = 100.0  # prior precision of the calibration's slope around 1 and shift around 0: the posterior is nearly right


@dataclass(frozen=True)
class _Parts:
    layout: Layout
    trees: Forest | None
    tastes: Tastes
    item_variance: float


def fit_preference(table: Table, options: Options, running: Preference | None) -> Preference:
    """Fit, measure, calibrate and judge.

    Raises:
        RowsError: a label that is not 0 or 1.
    """
    if not np.all((table.label == 0) | (table.label == 1)):
        raise RowsError("a label of likes must be 0 or 1 in every row")
    many = len(table) >= MANY_ROWS
    split = options.split or choose_split(time=table.time is not None, groups=len(table.persons))
    share = ASIDE_OF_MANY if many else options.held_out
    aside = keep_aside(split, share, _order(table), table.unit, options.seed)
    trained: _Parts | None
    if many:
        tuning, measured = _halves(np.flatnonzero(aside), table, split)
        trained = _learn_many(table, tuning, measured, options)
        final = _know_persons(table, trained, aside, options)
    else:
        measured = np.flatnonzero(aside)
        trained = _learn(table.take(~aside), options) if 0 < len(measured) < len(table) else None
        final = _learn(table, options)
    item = None if table.item is None else table.item_name
    scorer = Preference(
        final.layout,
        final.trees,
        final.tastes,
        1.0,
        0.0,
        item,
        final.item_variance,
        _card(table, final, split),
    )
    if trained is None:
        return scorer
    unseen = replace(scorer, layout=trained.layout, trees=trained.trees, tastes=trained.tastes)
    return _measured(scorer, unseen, (table, measured, ~aside), running, options.baseline)


def _order(table: Table) -> Array | None:
    return None if table.time is None else np.unique(table.time, return_inverse=True)[1]


def _latest(table: Table, rows: Array) -> Array:
    """Sort places of rows by time, the latest last; as they are without times."""
    order = _order(table)
    return rows if order is None else rows[np.argsort(order[rows], kind="stable")]


def _enough(table: Table) -> bool:
    likes = int(table.label.sum())
    return len(table) >= FEWEST_ROWS and min(likes, len(table) - likes) >= FEWEST_POSITIVES


def _growth(encoder: Encoder, options: Options) -> Growth:
    return Growth(
        encoder.tree_names, encoder.categorical, options.monotone, options.threads, options.seed, options.parameters
    )


def _learn(table: Table, options: Options) -> _Parts:
    encoder = Encoder.fit(table.attributes, dict(options.kinds))
    if not _enough(table) or not encoder.tree_names:
        return _taste(table, encoder, None, None)
    rows = TreeRows(encoder.for_trees(table.attributes), table.label, table.weight, table.question)
    growth = _growth(encoder, options)
    fold = fold_of(table.unit, FOLDS, options.seed)
    unseen = np.zeros(len(table))
    forest = []
    for number in range(int(fold.max()) + 1):
        aside = np.flatnonzero(fold == number)
        forest.append(booster.grow_until_enough(rows, growth, aside))
        unseen[aside] = booster.margins((forest[-1],), rows.matrix[aside], threads=options.threads)
    return _taste(table, encoder, tuple(forest), unseen)


def _learn_many(table: Table, tuning: Array, measured: Array, options: Options) -> _Parts:
    encoder = Encoder.fit(table.attributes, dict(options.kinds))
    inside = np.ones(len(table), dtype=bool)
    inside[tuning] = inside[measured] = False
    rows = TreeStream(lambda places: encoder.for_trees(table.attributes.take(places)), table.label, table.weight)
    trees = (booster.grow_from_stream(rows, _growth(encoder, options), np.flatnonzero(inside), tuning),)
    few = table.take(np.sort(_latest(table, tuning)[-ROWS_OF_TASTES:]))
    margin = booster.margins(trees, encoder.for_trees(few.attributes), threads=options.threads)
    return _taste(few, encoder, trees, margin)


def _halves(aside: Array, table: Table, split: Split) -> tuple[Array, Array]:
    """Deal the rows kept aside: the later ones are measured, or every other unit."""
    if split == "time":
        ordered = _latest(table, aside)
        return np.sort(ordered[: len(aside) // 2]), np.sort(ordered[len(aside) // 2 :])
    odd = np.unique(table.unit[aside], return_inverse=True)[1] % 2 == 1
    return aside[~odd], aside[odd]


def _know_persons(table: Table, parts: _Parts, aside: Array, options: Options) -> _Parts:
    """Learn the tastes of all persons, each from their latest rows, those first that the trees have not seen."""
    if len(table.persons) < 2 or not parts.tastes.personal:  # noqa: PLR2004 - one person is the crowd
        return parts
    order = _order(table)
    ordered = np.lexsort((np.arange(len(table)) if order is None else order, aside, table.person))[::-1]
    begins = np.flatnonzero(np.diff(table.person[ordered], prepend=-2))
    turn = np.arange(len(table)) - np.repeat(begins, np.diff(begins, append=len(table)))
    each = max(1, ROWS_OF_PERSONS // len(table.persons))
    chosen = ordered[(turn < each) & (table.person[ordered] >= 0)][:ROWS_OF_PERSONS]
    del order, ordered, turn
    borders = np.flatnonzero(np.diff(table.person[chosen], prepend=-2))
    lots = np.split(chosen, borders[:: max(1, ROWS_AT_ONCE // each)][1:])
    read = (_read_evidence(table.take(np.sort(lot)), parts, options.threads) for lot in lots)
    return replace(parts, tastes=learn_persons(parts.tastes, read, table.persons))


def _taste(table: Table, encoder: Encoder, trees: Forest | None, margin: Floats | None) -> _Parts:
    items: tuple[str, ...] = ()
    if table.item is not None:
        counts = Counter(name for name in table.item.tolist() if name)
        items = tuple(sorted(name for name, _ in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:MOST_ITEMS]))
    layout = lay_out(encoder, trees=trees is not None, items=items)
    most = LARGEST_DESIGN // len(layout.column_owners)
    if len(table) > most:  # the latest rows, as tastes change; without times any are as good
        kept = _latest(table, np.arange(len(table)))[-most:]
        table, margin = table.take(kept), None if margin is None else margin[kept]
    blocks = layout.blocks(persons=len(table.persons) > 1)
    tastes = fit_tastes(_evidence(table, layout, margin), blocks, table.persons)
    return _Parts(layout, trees, tastes, tastes.variance_of(len(items)))


def _evidence(table: Table, layout: Layout, margin: Floats | None) -> Evidence:
    design = layout.design(table.attributes, margin, table.item)
    return Evidence(design, table.label.astype(np.float64), table.weight, table.person, table.question)


def _read_evidence(table: Table, parts: _Parts, threads: int) -> Evidence:
    margin = None
    if parts.trees is not None:
        margin = booster.margins(parts.trees, parts.layout.encoder.for_trees(table.attributes), threads=threads)
    return _evidence(table, parts.layout, margin)


def _measured(
    scorer: Preference,
    trained: Preference,
    rows: tuple[Table, Array, Array],
    running: Preference | None,
    rule: ItemRule | None,
) -> Preference:
    table, measured, inside = rows
    test = table.take(measured)
    attributes = test.attributes
    if test.item is not None:
        attributes = type(attributes)({**attributes.columns, test.item_name: test.item})
    names = test.person_names()
    y = test.label.astype(np.float64)
    utility = trained.tastes.utility(trained.design(attributes), names)
    slope, shift = _calibrate(utility, y)
    first = np.arange(len(y)) % 2 == 0  # calibrated on one half, measured on the other, and the reverse
    p = np.empty(len(y))
    for half in (first, ~first):
        a, b = _calibrate(utility[~half], y[~half])
        p[half] = expit(a * utility[half] + b)
    others = {"baseline": _plain(table, inside, test, rule)}
    new = unseen_by(running.card.window if running else None, test.time, len(y))
    if running is not None and new.any():
        others["running"] = running.score(attributes, names)
    metrics = _metrics("", y, p) | {"auc_error": auc_error(y, p, test.unit)}
    for name, theirs in others.items():
        part = new if name == "running" else np.ones(len(y), dtype=bool)
        metrics |= _metrics(f"{name}_", y[part], theirs[part])
    gain = {name: log_losses(y, p) - log_losses(y, theirs) for name, theirs in others.items()}
    verdict = judge(gain["baseline"], test.unit, gain.get("running", gain["baseline"])[new], test.unit[new])
    card = replace(scorer.card, held_out=len(y), metrics=metrics, calibration=calibration_bins(y, p), verdict=verdict)
    return replace(scorer, slope=slope, shift=shift, card=card)


def _plain(table: Table, inside: Array, test: Table, rule: ItemRule | None) -> Floats:
    if rule is not None and table.item is not None and test.item is not None:
        return rule(table.item[inside], table.label[inside].astype(np.float64), table.weight[inside], test.item)
    train = table.take(inside) if len(table) < MANY_ROWS else table
    return plain_rates(train.attributes, train.label, test.attributes)


def _metrics(prefix: str, y: Floats, p: Floats) -> dict[str, float]:
    return {
        f"{prefix}auc": auc(y, p),
        f"{prefix}log_loss": float(log_losses(y, p).mean()),
        f"{prefix}calibration_error": calibration_error(y, p),
    }


def _calibrate(utility: Floats, y: Floats) -> tuple[float, float]:
    """Fit Platt's slope and shift with a prior around doing nothing; (1, 0) with too few rows to tell."""
    if len(y) < FEWEST_TO_CALIBRATE or min(y.sum(), len(y) - y.sum()) < FEWEST_POSITIVES:
        return 1.0, 0.0
    design = np.column_stack([utility, np.ones(len(y))])
    centre, belief = np.array([1.0, 0.0]), BELIEF * np.eye(2)
    found = centre.copy()
    for _ in range(25):
        p = expit(design @ found)
        slope = design.T @ (y - p) - belief @ (found - centre)
        hessian = (design * np.maximum(p * (1 - p), 1e-6)[:, None]).T @ design + belief
        found = found + np.clip(np.linalg.solve(hessian, slope), -1.0, 1.0)
    return max(0.05, float(found[0])), float(found[1])  # never upside down: that would turn the order round


def _card(table: Table, parts: _Parts, split: str) -> Card:
    trees = parts.trees
    kinds = "|".join(f"{a.name}:{a.kind}" for a in parts.layout.encoder.attributes)
    return Card(
        kind="preference",
        method="smoothed_rates" if trees is None else "boosted",
        rows=len(table),
        positives=int(table.label.sum()),
        persons=len(table.persons),
        window=table.window,
        split=split,
        held_out=0,
        data_hash=table.attributes.fingerprint(),
        feature_set=hashlib.blake2b(kinds.encode(), digest_size=8).hexdigest(),
        importances=_importances(parts),
        verdict=Verdict(promote=False, reason="no rows were kept aside to measure on"),
    )


def _importances(parts: _Parts) -> dict[str, float]:
    found: dict[str, float] = {}
    if parts.trees is not None:
        owners = parts.layout.encoder.tree_owners
        gains = booster.gains(parts.trees)
    else:
        owners = parts.layout.column_owners[1:]
        gains = parts.tastes.crowd[1:] ** 2
    for owner, gain in zip(owners, gains, strict=True):
        found[owner] = found.get(owner, 0.0) + float(gain)
    total = sum(found.values()) or 1.0
    return {name: gain / total for name, gain in sorted(found.items(), key=lambda item: (-item[1], item[0]))}
