from __future__ import annotations

import numpy as np
import pytest

import ml
from ml import Roster, RowsError


def tasks(n: int = 400, seed: int = 1) -> dict[str, list[object]]:
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 3, n)
    kind = rng.integers(0, 2, n)
    owner = np.where(rng.random(n) < 0.9, (place + 2 * kind) % 4, rng.integers(0, 4, n))
    return {
        "place": [f"room {j}" for j in place],
        "kind": [["call", "visit"][j] for j in kind],
        "text": [f"please send somebody to the {['old', 'new'][j]} house" for j in kind],
        "at": [f"2024-01-{1 + j * 28 // n:02d}" for j in range(n)],
        "who": [f"w{j}" for j in owner],
    }


def fitted(**more: object) -> Roster:
    scorer = ml.fit({**tasks(), **more}, "who", time="at")
    assert isinstance(scorer, Roster)
    return scorer


def test_the_one_who_always_did_it_is_named_first() -> None:
    ranked = fitted().rank([{"place": "room 1", "kind": "visit", "text": "the new house"}], 2)[0]
    assert ranked[0][0] == "w3"
    assert ranked[0][1] > 2 * ranked[1][1]  # in truth 37 times; 400 rows shrink it


def test_probabilities_of_all_names_add_up_to_one_and_strangers_have_none() -> None:
    scorer = fitted()
    row = [{"place": "room 9", "kind": "visit"}]
    assert sum(float(scorer.score(row, name)[0]) for name in scorer.names) == pytest.approx(1.0)
    assert scorer.score(row, "nobody").tolist() == [0.0]


def test_rows_kept_aside_are_the_latest_and_beat_the_most_frequent_name() -> None:
    card = fitted().card
    assert card.split == "time"
    assert card.metrics["top1"] > card.metrics["baseline_top1"] + 0.3
    assert card.verdict.promote


def test_an_explanation_names_what_speaks_for_somebody() -> None:
    why = fitted().explain({"place": "room 1", "kind": "visit", "text": "the new house"}, "w3")
    names = [name for name, _ in why.parts]
    assert "kind & place" in names
    assert dict(why.parts)["kind & place"] > 0
    with pytest.raises(RowsError, match="not among"):
        fitted().explain({"place": "room 1"}, "nobody")


def test_names_are_chosen_for_one_row_at_a_time() -> None:
    scorer = fitted()
    rng = np.random.default_rng(0)
    picks = scorer.choose([{"place": "room 1", "kind": "visit"}], 2, exploration_rate=0.0, rng=rng)
    assert scorer.names[picks[0].index] == "w3"
    with pytest.raises(RowsError, match="one row"):
        scorer.choose(tasks(3), 1, rng=rng)
