from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import ml
from ml import Options, Preference, RowsError
from ml.metrics import auc
from tests.ml.rows import QUICK, likes, without


def fitted(rows: dict[str, list[Any]], options: Options = QUICK, **roles: Any) -> Preference:
    scorer = ml.fit(rows, "liked", "person", options=options, **roles)
    assert isinstance(scorer, Preference)
    return scorer


def test_what_the_crowd_likes_scores_higher() -> None:
    rows = likes()
    scorer = fitted(without(rows, "at"))
    asked = {"colour": ["red", "blue"], "size": [0.0, 0.0], "note": ["", ""]}
    red, blue = scorer.score(asked)
    # the true probabilities are .73 and .38; 600 rows give each a standard error of .03
    assert red > blue + 0.15
    assert scorer.card.method == "boosted"


def test_a_person_with_few_rows_gets_a_ranking_of_their_own() -> None:
    rows = likes(persons=40, each=12, taste=3.0)
    scorer = fitted(without(rows, "at", "note"))
    asked = {"colour": ["blue", "blue"], "size": [-1.5, 1.5]}
    for name, best in (("p0", 1), ("p1", 0)):
        assert int(np.argmax(scorer.score(asked, name))) == best


def test_one_persons_rows_can_be_learned_between_fits() -> None:
    scorer = fitted(without(likes(persons=40, each=12, taste=3.0), "at", "note"))
    known = {"colour": ["blue"] * 8, "size": [-1.0, -1.5, -0.8, -1.2, 1.0, 1.5, 0.8, 1.2]}
    after = scorer.update(known, [1, 1, 1, 1, 0, 0, 0, 0], "new")
    asked = {"colour": ["blue", "blue"], "size": [-1.5, 1.5]}
    small, large = after.score(asked, "new")
    assert small > large + 0.2
    assert np.array_equal(after.score(asked, "p0"), scorer.score(asked, "p0"))


def test_an_unknown_person_is_scored_like_the_crowd() -> None:
    scorer = fitted(without(likes(), "at"))
    asked = without(likes(seed=2, persons=3), "liked", "at")
    assert np.array_equal(scorer.score(asked, "nobody"), scorer.score(asked))


def test_too_few_rows_serve_smoothed_rates_and_say_so() -> None:
    scorer = fitted(without(likes(persons=4, each=20), "at"))
    assert scorer.card.method == "smoothed_rates"
    assert scorer.trees is None
    scores = scorer.score({"colour": ["red", "green"], "size": [0.0, 0.0]})
    assert np.all((scores > 0.02) & (scores < 0.98))


def test_one_single_row_can_be_learned_from() -> None:
    scorer = ml.fit([{"colour": "red", "liked": 1}], "liked")
    (score,) = scorer.score([{"colour": "red"}])
    assert 0.5 < score < 0.95


def test_explanations_add_up_to_the_score() -> None:
    rows = without(likes(taste=1.0), "at")
    scorer = fitted(rows)
    for person in (None, "p3"):
        row = {"colour": "red", "size": 1.0, "note": "a red thing"}
        why = scorer.explain(row, person)
        (score,) = scorer.score([row], person)
        assert why.probability == pytest.approx(score, abs=1e-6)
        assert why.base + sum(part for _, part in why.parts) == pytest.approx(np.log(score / (1 - score)), abs=1e-6)


def test_a_monotone_constraint_holds_everywhere() -> None:
    rows = without(likes(taste=0.0), "at", "note", "person")
    options = replace(QUICK, monotone={"size": 1}, features=["size"])
    scorer = ml.fit(rows, "liked", options=options)
    assert isinstance(scorer, Preference)
    assert scorer.trees is not None
    grid = np.linspace(-3, 3, 50).reshape(-1, 1).astype(np.float32)
    assert np.all(np.diff(ml.booster.margins(scorer.trees, grid)) >= 0)


def test_with_times_the_latest_rows_are_kept_aside() -> None:
    scorer = fitted(likes(), time="at")
    assert scorer.card.split == "time"
    assert scorer.card.window == ("0.0", "599.0")
    assert scorer.card.held_out == 120


def test_a_running_scorer_is_compared_only_on_rows_it_has_not_seen() -> None:
    rows = likes(persons=10, each=60, taste=2.0)
    order = np.random.default_rng(3).permutation(600)
    shuffled = {name: [values[j] for j in order] for name, values in rows.items()} | {"at": list(range(600))}
    first = fitted({name: values[:540] for name, values in shuffled.items()}, time="at")
    second = fitted(shuffled, time="at", running=first)
    assert "on 60 rows" in second.card.verdict.reason
    assert "running scorer" in second.card.verdict.reason


def test_a_scorer_of_noise_is_not_promoted() -> None:
    rows = without(likes(), "at")
    rng = np.random.default_rng(5)
    rows["liked"] = rng.integers(0, 2, 600).astype(float).tolist()
    card = fitted(rows).card
    assert not card.verdict.promote or card.verdict.interval[1] > 0
    assert card.metrics["auc"] < 0.62  # 120 rows of noise: .5 and two standard errors of .05


def test_choices_out_of_four_are_learned_as_choices() -> None:
    rng = np.random.default_rng(4)
    price = rng.standard_normal(400 * 4)
    question = np.repeat(np.arange(400), 4)
    best = (price + rng.gumbel(size=1600) * 0.5).reshape(400, 4).argmax(axis=1)
    chosen = (np.tile(np.arange(4), 400) == np.repeat(best, 4)).astype(float)
    rows = {"price": price, "set": question, "person": [f"p{j % 15}" for j in question], "liked": chosen}
    scorer = fitted(rows, question="set")
    assert auc(chosen, scorer.score({"price": price})) > 0.8


@pytest.mark.parametrize(
    ("rows", "label", "words"),
    [
        ({}, "liked", "no rows"),
        ({"a": [1.0, 2.0]}, "liked", "no column 'liked'"),
        ({"a": [1.0, 2.0], "b": [1.0]}, "a", "different length"),
        ({"a": ["x", "y"], "liked": [0.0, None]}, "liked", "have no label"),
        ({"a": ["x", "y"], "liked": ["u", "u"]}, "liked", "nothing to choose"),
    ],
)
def test_unusable_rows_say_what_is_wrong(rows: Any, label: str, words: str) -> None:
    with pytest.raises(RowsError, match=words):
        ml.fit(rows, label)
