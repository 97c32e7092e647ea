"""How well the gain of a stronger model is foreseen, and what that saves.

APGR: the area under the share of the weak-to-strong gap won back, over the share of strong calls; chance gives .5.
Saved at 95 %: of the dollars of always asking the stronger model, while 95 % of its quality is kept, the threshold
being chosen on the same prompts, as is the custom; the share of strong calls avoided stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.evaluate.requests import Requests, read_nine, read_routellm, read_thinking
from ml.evaluate.result import Result
from ml.frame import Array, Floats, Ints
from ml.gain import fit_gain
from ml.gain_parts import Judged, Texts
from ml.metrics import interval, recovered_gap
from ml.splits import fold_of

FOLDS = 5
DEALINGS = 3  # of tasks to folds: with 27 tasks one dealing says more about itself than about the scorer
KEPT = 0.95  # of the stronger model's quality
DRAWS = 200


@dataclass(frozen=True)
class Bars:
    """What the area should reach, and what is known of plainer rules."""

    area: float | None
    baseline: float | None = None


def measure_routellm(path: Path, threads: int) -> list[Result]:
    """Route MMLU in domain and on unseen subjects, and carry it over to GSM8K."""
    known, other = read_routellm(path, "mmlu"), read_routellm(path, "gsm8k")
    out = _in_domain("MMLU", known, threads, Bars(0.68, 0.676))
    out += _unseen("MMLU", known, threads, Bars(0.60, 0.568))
    gain, _ = fit_gain(_judged(Texts.of(known.prompts), known, np.arange(len(known))), threads=threads)
    score = gain.expect(Texts.of(other.prompts))[0]
    return out + _results("MMLU to GSM8K", "unseen domain", other, score, np.arange(len(other)), Bars(0.50))


def measure_thinking(path: Path, threads: int) -> list[Result]:
    """Tell where thinking pays, on tasks known and unseen. Nothing learned from this set is kept: it bears a canary."""
    requests = read_thinking(path)
    out = _in_domain("thinking", requests, threads, Bars(0.80, 0.793))
    return out + _unseen("thinking", requests, threads, Bars(0.66, 0.656))


def measure_nine(path: Path, threads: int) -> list[Result]:
    """Choose between two of nine open models, for orientation."""
    return _in_domain("gemma-9b to nemotron-51b", read_nine(path), threads, Bars(None, 0.763))


def _in_domain(what: str, requests: Requests, threads: int, bars: Bars) -> list[Result]:
    rows = np.arange(len(requests), dtype=np.int64)
    score = _foreseen(requests, fold_of(rows, FOLDS, seed=0), threads)
    return _results(what, "random rows", requests, score, rows, bars)


def _unseen(what: str, requests: Requests, threads: int, bars: Bars) -> list[Result]:
    """Keep whole subjects or tasks aside; the figures are means over the dealings, the interval is of the first one."""
    place = np.unique(requests.group.astype(str), return_inverse=True)[1].astype(np.int64)
    found, ranked = [], []
    for dealing in range(DEALINGS):
        fold = fold_of(place, FOLDS, seed=dealing)
        score = _foreseen(requests, fold, threads)
        found.append(_results(what, "unseen groups", requests, score, place, bars))
        ranked.append(_area(requests.good, _ranked(score, fold)))
    out = [_mean(same) for same in zip(*found, strict=True)]
    each = f"APGR {what}, each fold ranked alone"
    spread = (min(ranked), max(ranked))
    return [*out, Result(each, len(requests), "unseen groups", None, float(np.mean(ranked)), spread)]


def _foreseen(requests: Requests, fold: Ints, threads: int) -> Floats:
    """Give each request's expected gain by a fit that has not seen its fold."""
    texts = Texts.of(requests.prompts)
    score = np.zeros(len(requests))
    for number in range(FOLDS):
        inside, aside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        gain, _ = fit_gain(_judged(texts, requests, inside), threads=threads)
        score[aside] = gain.expect(texts.take(aside))[0]
    return score


def _judged(texts: Texts, requests: Requests, rows: Array) -> Judged:
    return Judged(texts.take(rows), requests.good[rows], np.ones(len(rows)))


def _results(what: str, split: str, requests: Requests, score: Floats, groups: Array, bars: Bars) -> list[Result]:
    table = np.column_stack([requests.good, requests.dollars, score])
    area = Result(
        f"APGR {what}",
        len(requests),
        split,
        bars.baseline,
        _area(requests.good, score),
        interval(table, groups, statistic=lambda rows: _area(rows[:, :2], rows[:, 4]), draws=DRAWS),
        bars.area,
    )
    out = [area]
    dollars, calls = saved(table)
    spread = interval(table, groups, statistic=lambda rows: saved(rows)[0], draws=DRAWS)
    out.append(Result(f"dollars saved at {KEPT:.0%}, {what}", len(requests), split, None, dollars, spread))
    spread = interval(table, groups, statistic=lambda rows: saved(rows)[1], draws=DRAWS)
    out.append(Result(f"strong calls saved at {KEPT:.0%}, {what}", len(requests), split, None, calls, spread))
    return out


def saved(table: Floats) -> tuple[float, float]:
    """Give the share of dollars and of strong calls saved while KEPT of the stronger model's quality is kept.

    Args:
        table: shape (n, 5): quality of weaker and stronger, dollars of weaker and stronger, expected gain.
    """
    order = np.argsort(-table[:, 4], kind="stable")
    good, dollars = table[order, :2], table[order, 2:4]
    quality = good[:, 0].sum() + np.concatenate([[0.0], np.cumsum(good[:, 1] - good[:, 0])])
    cost = dollars[:, 0].sum() + np.concatenate([[0.0], np.cumsum(dollars[:, 1] - dollars[:, 0])])
    enough = np.flatnonzero(quality >= KEPT * good[:, 1].sum())
    calls = int(enough[0])
    return 1.0 - float(cost[calls]) / float(dollars[:, 1].sum()), 1.0 - calls / len(table)


def _area(good: Floats, score: Floats) -> float:
    return recovered_gap(good[:, 0], good[:, 1], score)


def _ranked(score: Floats, fold: Ints) -> Floats:
    """Give each score's rank within its fold, 0..1: every fold is a router of its own."""
    out = np.zeros(len(score))
    for number in range(FOLDS):
        own = np.flatnonzero(fold == number)
        out[own[np.argsort(score[own], kind="stable")]] = np.arange(len(own)) / max(1, len(own))
    return out


def _mean(results: Sequence[Result]) -> Result:
    first = results[0]
    ours = float(np.mean([result.ours for result in results]))
    return Result(first.what, first.n, first.split, first.baseline, ours, first.interval, first.bar)
