"""What people choose, like and rate: rankings, a simulated screen, and cold start from attributes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml.evaluate.result import Result
from ml.frame import Array, Floats, Frame, as_frame, as_text
from ml.metrics import auc, interval, top_hits
from ml.preference import Preference
from ml.scorers import fit
from ml.splits import fold_of
from ml.table import Options

FOLDS = 5
KNOWN = (0, 2, 4, 8)  # choices of a person that are known
LONGEST = 8  # judged are the choices after these, the same ones for every number known
SHOWS = 20
SCREENS = 8  # simulated courses of the designs' screen: each differs by chance alone
EXPLORATION_RATE = 0.2  # the product's own


def measure_electricity(path: Path, threads: int) -> list[Result]:
    """Choose one of four contracts: people nobody has met, then the same people after some choices are known."""
    frame = as_frame(path)
    chosen = (frame.columns["choice"] == "True").astype(np.float64)
    person, question = as_text(frame.columns["id"]), as_text(frame.columns["chid"])
    attributes = frame.without(["choice", "id", "alt", "chid", "split"])
    place = _place_in_history(person, frame.columns["chid"])
    hits: dict[int, list[Floats]] = {known: [] for known in KNOWN}
    strangers: list[Floats] = []
    whose: list[Array] = []
    everyone: list[Array] = []
    fold = fold_of(np.unique(person.astype(str), return_inverse=True)[1].astype(np.int64), FOLDS, seed=0)
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        scorer = _preference(
            attributes.take(train), chosen[train], person[train], question=question[train], threads=threads
        )
        strangers.append(top_hits(question[test], chosen[test], scorer.score(attributes.take(test))))
        everyone.append(_one_a_question(question[test], person[test]))
        for name in np.unique(person[test].astype(str)):
            own = person == name
            late = own & (place >= LONGEST)
            if not late.any():
                continue
            whose.append(_one_a_question(question[late], person[late]))
            for known in KNOWN:
                early = own & (place < known)
                knows = scorer.update(attributes.take(early), chosen[early], name, question[early]) if known else scorer
                hits[known].append(
                    top_hits(question[late], chosen[late], knows.score(attributes.take(late), name if known else None))
                )
    people = np.concatenate(whose)
    bars = {0: 0.48, 8: 0.62}
    baselines = {0: 0.474, 8: 0.479}  # pooled ranker, as the data's own note gives it
    first, groups = np.concatenate(strangers), np.concatenate(everyone)
    out = [
        Result(
            "top-1, no history, all choices",
            len(first),
            "unseen people",
            None,
            _mean(first),
            interval(first, groups),
            0.48,
        )
    ]
    for known in KNOWN:
        values = np.concatenate(hits[known])
        what = f"top-1 after {known} known, choices from the 9th"
        spread = interval(values, people)
        out.append(
            Result(what, len(values), "unseen people", baselines.get(known), _mean(values), spread, bars.get(known))
        )
    return out


def measure_designs(path: Path, threads: int) -> list[Result]:
    """Show each person twenty designs, one a round, and learn after every round; nothing is known at first."""
    frame = as_frame(path)
    designs = Frame({name: frame.columns[name] for name in ("filename", "prompt", "length", "mode", "generator")})
    likes, person = frame.columns["like"].astype(np.float64), as_text(frame.columns["user_id"])
    earned = np.array([_show(designs, likes, person, seed, threads) for seed in range(SCREENS)])
    by_person = earned.mean(axis=0)
    people = np.arange(len(by_person))
    plain = _mean(likes)
    what = f"mean like rate over {SHOWS} shows, {EXPLORATION_RATE:.0%} explored"
    spread = interval(by_person, people)
    return [Result(what, len(people), f"{SCREENS} screens", plain, _mean(by_person), spread, 0.43)]


def _show(designs: Frame, likes: Floats, person: Array, seed: int, threads: int) -> Floats:
    rng = np.random.default_rng(seed)
    people = np.unique(person.astype(str))
    left = {name: list(np.flatnonzero(person == name)) for name in people}
    earned = dict.fromkeys(people, 0.0)
    shown: list[int] = []
    scorer: Preference | None = None
    for _ in range(SHOWS):
        for name in people:
            rows = np.array(left[name])
            if scorer is None:
                place = int(rng.integers(len(rows)))
            else:
                picks = scorer.choose(
                    designs.take(rows), 1, exploration_rate=EXPLORATION_RATE, rng=rng, person=str(name)
                )
                place = picks[0].index
            row = int(left[name].pop(place))
            shown.append(row)
            earned[name] += likes[row] / SHOWS
        seen = np.array(shown)
        options = Options(threads=threads, kinds={"prompt": "categorical"})
        fitted = fit(designs.take(seen), likes[seen], person[seen], item="filename", options=options)
        scorer = fitted if isinstance(fitted, Preference) else None
    return np.array(list(earned.values()))


def measure_images(path: Path, threads: int) -> list[Result]:
    """Tell the best quarter of images from attributes and prompt; all images of a prompt stay on one side."""
    frame = as_frame(path)
    quality, prompt = frame.columns["mos_quality"], frame.columns["prompt"]
    top = (quality >= np.quantile(quality, 0.75)).astype(np.float64)
    names = [name.rsplit("_", 1)[0] for name in frame.columns["name"]]
    attributes = Frame(
        {
            "generator": as_text([name.split("_")[0] for name in names]),
            "variant": as_text(names),
            **{name: frame.columns[name] for name in ("prompt", "adj1", "adj2", "style")},
        }
    )
    fold = fold_of(np.unique(prompt.astype(str), return_inverse=True)[1].astype(np.int64), FOLDS, seed=0)
    score, rate = np.zeros(len(top)), np.zeros(len(top))
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        scorer = _preference(attributes.take(train), top[train], prompt[train], threads=threads)
        score[test] = scorer.score(attributes.take(test))
        for name in np.unique(attributes.columns["variant"].astype(str)):
            same = attributes.columns["variant"] == name
            rate[test & same] = top[train & same].mean()
    values = np.column_stack([top, score])
    found = interval(values, prompt.astype(str), statistic=lambda part: auc(part[:, 0], part[:, 1]))
    pooled = auc(top, score)
    by_fold = float(np.mean([auc(top[fold == j], score[fold == j]) for j in range(FOLDS)]))
    plain = auc(top, rate)
    return [
        Result("AUC of the best quarter, pooled", len(top), "unseen prompts", plain, pooled, found, 0.83),
        Result("the same, mean over folds", len(top), "unseen prompts", None, by_fold, found, 0.83),
    ]


def _preference(
    rows: Frame, label: Floats, person: Array, *, threads: int, question: Array | None = None
) -> Preference:
    scorer = fit(rows, label, person, question=question, options=Options(threads=threads))
    if not isinstance(scorer, Preference):
        raise TypeError("a label of 0 and 1 makes a Preference")
    return scorer


def _place_in_history(person: Array, question: Array) -> Array:
    out = np.zeros(len(person), dtype=np.int64)
    for name in np.unique(person.astype(str)):
        own = person == name
        out[own] = np.unique(question[own], return_inverse=True)[1]
    return out


def _one_a_question(question: Array, person: Array) -> Array:
    """Name the person of each question, in the order of the questions' sorted ids."""
    _, first = np.unique(question, return_index=True)
    return person[first].astype(str)


def _mean(values: Array) -> float:
    return float(np.mean(values))
