"""Who takes an incident, and how complex a request is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from ml.category import Category
from ml.evaluate.result import Result
from ml.frame import Array, Floats, Frame, as_frame, as_text
from ml.metrics import interval, macro_f1
from ml.roster import Roster
from ml.scorers import fit
from ml.splits import fold_of
from ml.table import Options

KNOWN_AT_OPENING = (
    "caller_id",
    "opened_by",
    "contact_type",
    "location",
    "category",
    "subcategory",
    "u_symptom",
    "cmdb_ci",
    "impact",
    "urgency",
    "priority",
)


def measure_incidents(path: Path, threads: int) -> list[Result]:
    """Name who solves an incident, from what is known when it is opened; later incidents are judged."""
    whole = as_frame(path)
    options = Options(
        threads=threads, features=KNOWN_AT_OPENING, kinds=dict.fromkeys(KNOWN_AT_OPENING, "categorical"), held_out=0.05
    )
    out = []
    for column, what, bars in (("final_group", "group", (0.64, 0.85)), ("resolved_by", "person", (0.45, 0.60))):
        frame = whole.take(as_text(whole.columns[column]) != "")
        label, opened = as_text(frame.columns[column]), frame.columns["opened_at"]
        train = frame.columns["split"] == "train"
        scorer = _roster(frame.take(train), label[train], time=opened[train], options=options)
        ranked = scorer.rank(frame.take(~train), 3)
        plain = [name for name, _ in Counter(label[train].tolist()).most_common(3)]
        days = np.array([day[:10] for day in opened[~train]])
        for k, bar in ((1, bars[0]), (3, bars[1])):
            hit = _hits(label[~train], [[name for name, _ in best[:k]] for best in ranked])
            base = float(np.mean(_hits(label[~train], [plain[:k]] * len(hit))))
            spread = interval(hit, days)
            out.append(Result(f"{what} top-{k}", len(hit), "later in time", base, float(hit.mean()), spread, bar))
    return out


def measure_complexity(path: Path, threads: int) -> list[Result]:
    """Tell low, middle and high requests by their words: in a domain known, and in one held out."""
    frame = as_frame(path)
    text, level = as_text(frame.columns["user_request"]), frame.columns["level"].astype(str)
    domain = frame.columns["domain"].astype(str)
    inside = fold_of(np.arange(len(level), dtype=np.int64), 5, seed=0) == 0
    out = _complexity("", "random rows", (text, level), inside, 0.68, threads)
    for name in np.unique(domain):
        out += _complexity(f" on {name}", "unseen domain", (text, level), domain == name, 0.55, threads)
    return out


def _complexity(
    where: str, split: str, rows: tuple[Array, Array], test: Array, bar: float, threads: int
) -> list[Result]:
    text, level = rows
    scorer = Category.fit(text[~test].tolist(), level[~test].tolist(), threads=threads)
    asked, truth = text[test].tolist(), level[test]
    guess = np.array(scorer.name(asked))
    pairs, each = np.column_stack([truth, guess]), np.arange(len(truth))
    spread = interval(pairs, each, statistic=lambda p: macro_f1(p[:, 0], p[:, 1]), draws=200)
    most = macro_f1(truth, np.full(len(truth), Counter(level[~test].tolist()).most_common(1)[0][0]))
    sure = np.array([scorer.guess(one).sure for one in asked])
    right = (truth == guess).astype(np.float64)
    return [
        Result(f"macro-F1{where}", len(truth), split, most, macro_f1(truth, guess), spread, bar),
        Result(f"sure of so many{where}", len(truth), split, None, float(sure.mean()), interval(sure * 1.0, each)),
        Result(
            f"right where sure{where}",
            int(sure.sum()),
            split,
            float(right.mean()),
            float(right[sure].mean()),
            interval(right[sure], each[sure]),
        ),
    ]


def _hits(truth: Array, shown: list[list[str]]) -> Floats:
    return np.array([float(name in names) for name, names in zip(truth, shown, strict=True)])


def _roster(
    rows: Frame, label: Array, *, options: Options, time: Array | None = None, weight: Array | None = None
) -> Roster:
    scorer = fit(rows, label, None, weight, time, options=options)
    if not isinstance(scorer, Roster):
        raise TypeError("a label of names makes a Roster")
    return scorer
