"""What people choose, like and rate: rankings, a simulated screen, and cold start from attributes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml.evaluate.result import Result
from ml.frame import Array, Floats, Frame, Ints, as_frame, as_text
from ml.metrics import auc, interval, top_hits
from ml.preference import Preference
from ml.scorers import fit
from ml.splits import fold_of
from ml.table import Options

FOLDS = 5
DEALS = 3  # of people to folds: which strangers are judged together with whom is chance
# Judged are the choices after the first few, the same ones for every number known: (known, judged from this one on).
HISTORIES = ((0, 8), (2, 8), (4, 8), (8, 8), (8, 10), (10, 10), (8, 11), (11, 11))
CHOICE_BARS = {(0, 8): 0.48, (8, 8): 0.62}
POOLED_RANKER = {(0, 8): 0.474, (8, 8): 0.479}  # as the data's own note gives it
RATINGS_KNOWN = (0, 4, 8, 12, 16, 24, 40)  # of a person's designs; judged are the others after the fortieth
SHOWS = 20
SCREENS = 24  # simulated courses of the designs' screen: they differ by chance alone, by .02 each
EXPLORATION_RATE = 0.2  # the product's own
INNER_FOLDS = 3


def measure_electricity(path: Path, threads: int) -> list[Result]:
    """Choose one of four contracts: people nobody has met, then the same people after some choices are known."""
    frame = as_frame(path)
    chosen = (frame.columns["choice"] == "True").astype(np.float64)
    person, question = as_text(frame.columns["id"]), as_text(frame.columns["chid"])
    attributes = frame.without(["choice", "id", "alt", "chid", "split"])
    place = _place_in_history(person, frame.columns["chid"])
    number_of, first = _numbers(question), np.unique(_numbers(question), return_index=True)[1]
    owner, turn = person[first].astype(str), place[first]
    met = np.zeros((DEALS, len(first)))
    hits = {history: np.zeros((DEALS, len(first))) for history in HISTORIES}
    for deal in range(DEALS):
        fold = _folds(person, deal)
        for number in range(FOLDS):
            train, test = fold != number, fold == number
            scorer = _preference(
                attributes.take(train), chosen[train], person[train], question=question[train], threads=threads
            )
            asked = np.unique(number_of[test])
            met[deal, asked] = top_hits(number_of[test], chosen[test], scorer.score(attributes.take(test)))
            for name in np.unique(person[test].astype(str)):
                own = person == name
                for known, begin in HISTORIES:
                    early, late = own & (place < known), own & (place >= begin)
                    rows = (attributes.take(early), chosen[early], name, question[early])
                    knows = scorer.update(*rows) if known else scorer
                    scores = knows.score(attributes.take(late), name if known else None)
                    found = top_hits(number_of[late], chosen[late], scores)
                    hits[known, begin][deal, np.unique(number_of[late])] = found
    each, split = met.mean(axis=0), f"new people, {DEALS} deals"
    out = [Result("top-1, no history, all choices", len(each), split, None, _mean(each), interval(each, owner), 0.48)]
    for history in HISTORIES:
        late = turn >= history[1]
        each = hits[history].mean(axis=0)[late]
        what = f"top-1 after {history[0]} known, choices from no. {history[1] + 1}"
        spread, baseline, bar = interval(each, owner[late]), POOLED_RANKER.get(history), CHOICE_BARS.get(history)
        out.append(Result(what, len(each), split, baseline, _mean(each), spread, bar))
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
    shown = Result(what, len(people), f"{SCREENS} screens", plain, _mean(by_person), spread, 0.43)
    return [shown, *_order_by_history(designs, likes, person, threads)]


def _order_by_history(designs: Frame, likes: Floats, person: Array, threads: int) -> list[Result]:
    """Put a new person's designs in order after more and more of their ratings are known, always the same designs."""
    fold, rng = _folds(person), np.random.default_rng(0)
    found: dict[int, list[float]] = {known: [] for known in RATINGS_KNOWN}
    for number in range(FOLDS):
        train = fold != number
        options = Options(threads=threads, kinds={"prompt": "categorical"})
        scorer = fit(designs.take(train), likes[train], person[train], item="filename", options=options)
        if not isinstance(scorer, Preference):
            raise TypeError("a label of 0 and 1 makes a Preference")
        for name in np.unique(person[~train].astype(str)):
            own = rng.permutation(np.flatnonzero(person == name))
            asked = own[max(RATINGS_KNOWN) :]
            if len(np.unique(likes[asked])) == 1:
                continue  # who likes all or nothing of it has no order
            for known in RATINGS_KNOWN:
                early = own[:known]
                knows = scorer.update(designs.take(early), likes[early], name) if known else scorer
                found[known].append(auc(likes[asked], knows.score(designs.take(asked), name if known else None)))
    out = []
    for known, values in found.items():
        spread = interval(np.array(values), np.arange(len(values)))
        what = f"AUC within a person after {known} known ratings"
        out.append(Result(what, len(values), "unseen people", None, _mean(np.array(values)), spread))
    return out


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
    fold = _folds(prompt)
    score, rate = np.zeros(len(top)), np.zeros(len(top))
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        rows = (attributes.take(train), top[train], prompt[train])
        score[test] = _fit_images(rows, _best_setting(rows, threads), threads).score(attributes.take(test))
        for name in np.unique(attributes.columns["variant"].astype(str)):
            same = attributes.columns["variant"] == name
            rate[test & same] = top[train & same].mean()
    groups = prompt.astype(str)
    pooled, plain = auc(top, score), auc(top, rate)
    values = np.column_stack([top, score, rate])
    spread = interval(values, groups, statistic=lambda part: auc(part[:, 0], part[:, 1]))
    gain = interval(values, groups, statistic=lambda part: auc(part[:, 0], part[:, 1]) - auc(part[:, 0], part[:, 2]))
    return [
        Result("AUC of the best quarter", len(top), "unseen prompts", plain, pooled, spread, 0.83),
        Result("the same, more than the rate of the variant", len(top), "unseen prompts", None, pooled - plain, gain),
    ]


_Images = tuple[Frame, Floats, Array]  # attributes, label, prompt
_Setting = tuple[bool, bool]  # whether images of one prompt are told apart from others', whether its words are read
SETTINGS: tuple[_Setting, ...] = ((True, True), (True, False), (False, True), (False, False))


def _best_setting(rows: _Images, threads: int) -> _Setting:
    """Choose how to fit on the training prompts alone, by folds among them."""
    attributes, top, prompt = rows
    fold = fold_of(_numbers(prompt), INNER_FOLDS, seed=1)
    found: dict[_Setting, float] = {}
    for setting in SETTINGS:
        score = np.zeros(len(top))
        for number in range(INNER_FOLDS):
            train, test = fold != number, fold == number
            part = (attributes.take(train), top[train], prompt[train])
            score[test] = _fit_images(part, setting, threads).score(attributes.take(test))
        found[setting] = auc(top, score)
    return max(found, key=lambda setting: found[setting])


def _fit_images(rows: _Images, setting: _Setting, threads: int) -> Preference:
    attributes, top, prompt = rows
    grouped, worded = setting
    kept = attributes if worded else attributes.without(["prompt"])
    return _preference(kept, top, prompt if grouped else None, threads=threads)


def _preference(
    rows: Frame, label: Floats, person: Array | None, *, threads: int, question: Array | None = None
) -> Preference:
    scorer = fit(rows, label, person, question=question, options=Options(threads=threads))
    if not isinstance(scorer, Preference):
        raise TypeError("a label of 0 and 1 makes a Preference")
    return scorer


def _folds(groups: Array, seed: int = 0) -> Array:
    return fold_of(_numbers(groups), FOLDS, seed)


def _numbers(groups: Array) -> Ints:
    return np.unique(groups.astype(str), return_inverse=True)[1].astype(np.int64)


def _place_in_history(person: Array, question: Array) -> Array:
    out = np.zeros(len(person), dtype=np.int64)
    for name in np.unique(person.astype(str)):
        own = person == name
        out[own] = np.unique(question[own], return_inverse=True)[1]
    return out


def _mean(values: Array) -> float:
    return float(np.mean(values))
