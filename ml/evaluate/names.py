"""Who takes an incident, and how complex a request is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

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
    level, domain = frame.columns["level"], frame.columns["domain"].astype(str)
    text = Frame({"request": frame.columns["user_request"]})
    fold = fold_of(np.arange(len(level), dtype=np.int64), 5, seed=0)
    inside = fold == 0
    options = Options(threads=threads, held_out=0.05, kinds={"request": "text"})
    out = [_complexity("macro-F1", "random rows", (text, level), inside, options, 0.68)]
    for name in np.unique(domain):
        part = _complexity(f"macro-F1 on {name}", "unseen domain", (text, level), domain == name, options, 0.55)
        out.append(part)
    return out


def _complexity(what: str, split: str, rows: tuple[Frame, Array], test: Array, options: Options, bar: float) -> Result:
    text, level = rows
    counts = Counter(level[~test].tolist())
    weight = np.array([1 / counts[name] for name in level[~test]]) * len(level[~test]) / len(counts)
    scorer = _roster(text.take(~test), level[~test], weight=weight**BALANCE, options=options)
    guess = np.array([best[0][0] for best in scorer.rank(text.take(test), 1)])
    truth = level[test].astype(str)
    pairs = np.column_stack([truth, guess])
    spread = interval(pairs, np.arange(len(truth)), statistic=lambda p: macro_f1(p[:, 0], p[:, 1]), draws=200)
    most = macro_f1(truth, np.full(len(truth), counts.most_common(1)[0][0]))
    return Result(what, len(truth), split, most, macro_f1(truth, guess), spread, bar)


BALANCE = 0.75  # of the inverse class size: a mean over classes asks for rare ones, without believing only them


def _hits(truth: Array, shown: list[list[str]]) -> Floats:
    return np.array([float(name in names) for name, names in zip(truth, shown, strict=True)])


def _roster(
    rows: Frame, label: Array, *, options: Options, time: Array | None = None, weight: Array | None = None
) -> Roster:
    scorer = fit(rows, label, None, weight, time, options=options)
    if not isinstance(scorer, Roster):
        raise TypeError("a label of names makes a Roster")
    return scorer
