from __future__ import annotations

import numpy as np
import pytest

import ml
from ml import Preference, RowsError
from ml.choosing import estimate_policy, pick
from tests.ml.rows import QUICK, likes, without


def test_without_exploration_the_best_are_shown_in_order() -> None:
    draws = np.random.default_rng(0).standard_normal((64, 4))
    picks = pick(np.array([0.1, 0.9, 0.5, 0.7]), draws, 3, exploration_rate=0.0, rng=np.random.default_rng(1))
    assert [p.index for p in picks] == [1, 3, 2]
    assert all(p.propensity == 1.0 and not p.explored for p in picks)


def test_about_a_fifth_is_explored_and_marked() -> None:
    rng = np.random.default_rng(2)
    draws = rng.standard_normal((64, 10))
    marked = [pick(np.arange(10) / 10, draws, 1, exploration_rate=0.2, rng=rng)[0].explored for _ in range(1000)]
    assert abs(np.mean(marked) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 1000)


def test_propensities_are_how_often_a_candidate_is_picked() -> None:
    rng = np.random.default_rng(3)
    draws = rng.standard_normal((256, 5)) + np.arange(5)
    rounds = 3000
    picks = [pick(np.arange(5) / 5, draws, 1, exploration_rate=0.5, rng=rng)[0] for _ in range(rounds)]
    for index in range(5):
        own = [p for p in picks if p.index == index]
        expected = own[0].propensity
        assert abs(len(own) / rounds - expected) < 4 * np.sqrt(expected * (1 - expected) / rounds)


def test_logged_propensities_tell_what_another_policy_would_earn() -> None:
    rng = np.random.default_rng(4)
    value = np.array([0.2, 0.8, 0.5])
    draws = rng.standard_normal((256, 3))
    rewards, chances, wanted = [], [], []
    for _ in range(4000):
        (shown,) = pick(np.array([0.9, 0.1, 0.2]), draws, 1, exploration_rate=0.6, rng=rng)
        rewards.append(float(rng.random() < value[shown.index]))
        chances.append(shown.propensity)
        wanted.append(float(shown.index == 1))
    mean, error = estimate_policy(np.array(rewards), np.array(chances), np.array(wanted))
    assert abs(mean - 0.8) < 4 * error
    assert error < 0.03


def test_a_structure_nobody_rated_is_explored_more_than_one_that_many_disliked() -> None:
    rows = without(likes(), "at", "note")
    items = ["old"] * 300 + ["other"] * 300
    rows["liked"] = [0.0 if j % 9 else 1.0 for j in range(300)] + [float(j % 2) for j in range(300)]
    scorer = ml.fit(rows | {"item": items}, "liked", item="item", options=QUICK)
    assert isinstance(scorer, Preference)
    rng = np.random.default_rng(5)
    shown = {"colour": ["red", "red"], "size": [0.0, 0.0], "item": ["old", "new"]}
    picks = [scorer.choose(shown, 1, exploration_rate=1.0, rng=rng)[0].index for _ in range(60)]
    assert np.mean(picks) > 0.6


def test_what_nobody_rated_is_less_certain_and_moves_as_one_thing() -> None:
    rows = without(likes(), "at", "note", "colour") | {"item": [f"i{j % 6}" for j in range(600)]}
    rng = np.random.default_rng(8)
    good = rng.random(600) < np.where(np.arange(600) % 6 < 3, 0.8, 0.2)
    scorer = ml.fit(rows | {"liked": good.astype(float)}, "liked", item="item", options=QUICK)
    assert isinstance(scorer, Preference)
    asked = {"size": [0.0] * 4, "item": ["i0", "new", "new", "newer"]}
    utility = np.log(1 / (1 / scorer.draw(asked, 400, rng=rng) - 1))
    deviation = utility.std(axis=0)
    assert deviation[1] > 2 * deviation[0]
    assert np.array_equal(utility[:, 1], utility[:, 2])
    # two things nobody rated share only what is uncertain of their attributes
    assert np.corrcoef(utility[:, 1], utility[:, 3])[0, 1] < 0.5


def test_the_same_generator_gives_the_same_picks() -> None:
    rows = without(likes(), "at")
    scorer = ml.fit(rows, "liked", "person", options=QUICK)
    shown = without(likes(persons=1, each=8, seed=9), "liked", "at", "person")
    first, second = (
        scorer.choose(shown, 4, exploration_rate=0.7, rng=np.random.default_rng(6), person="p1") for _ in range(2)
    )
    assert first == second
    assert len({p.index for p in first}) == 4


def test_a_rate_outside_nought_to_one_is_refused() -> None:
    with pytest.raises(RowsError, match="exploration_rate"):
        pick(np.ones(2), np.ones((1, 2)), 1, exploration_rate=1.5, rng=np.random.default_rng(0))
