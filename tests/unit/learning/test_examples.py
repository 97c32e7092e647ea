"""What counts as a showing, as liked, and as not liked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.studio.examples import Liked, Shown, build_examples, gather_logged
from app.studio.model import Structure

A = Structure("1", "a red coat", record_id="recA", attributes={"colour": "red", "long": True})
B = Structure("2", "a blue hat", record_id="recB", attributes={"colour": "blue", "renderer": "x"})


def shown(number: int, structure: str, at_s: float, record: str | None = None) -> Shown:
    return Shown(number, structure, record, "ImageFX", at_s, 0.5)


def labels(*given: Any) -> list[tuple[str, int, float]]:
    data = build_examples(*given)
    return list(zip(data.columns["item"], data.labels, data.weights, strict=True))


def test_a_like_of_a_record_is_a_like_of_that_showing() -> None:
    showings = [shown(1, "1", 10, "p1"), shown(2, "1", 11, "p2")]
    assert labels([A, B], showings, [Liked("p2", None, 20)]) == [("1", 0, 1.0), ("1", 1, 1.0)]


def test_a_like_of_a_structure_claims_its_newest_showing_before_the_like() -> None:
    showings = [shown(1, "1", 10), shown(2, "2", 11), shown(3, "1", 12), shown(4, "1", 30)]
    found = labels([A, B], showings, [Liked("img1", "recA", 20), Liked(None, "2", 40)])
    assert found == [("1", 0, 1.0), ("2", 1, 1.0), ("1", 1, 1.0)]


def test_showings_after_the_newest_liked_one_were_not_judged_yet() -> None:
    showings = [shown(1, "1", 10), shown(2, "2", 12), shown(3, "1", 30)]
    assert labels([A, B], showings, [Liked(None, "1", 20)]) == [("1", 1, 1.0)]


def test_without_any_like_nothing_was_judged() -> None:
    assert labels([A], [shown(1, "1", 10)], []) == []


def test_a_like_that_no_showing_explains_is_a_row_of_its_own() -> None:
    found = labels([A], [shown(1, "1", 10)], [Liked("old1", "1", 5), Liked("old2", "1", 20), Liked("old3", "1", 21)])
    assert sorted(found) == [("1", 1, 1.0)] * 3


def test_likes_of_what_nobody_knows_are_left_out() -> None:
    assert labels([A], [], [Liked("x", "99", 5), Liked("y", None, 6)]) == []


def test_what_the_base_counted_more_than_we_know_comes_with_its_weight() -> None:
    counted = Structure("1", "x", statistics={"liked": 7, "shown": 20}, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    showings = [shown(1, "1", 2e9), shown(2, "1", 2e9, "p1")]
    found = labels([counted], showings, [Liked("p1", None, 2e9 + 1)])
    assert sorted(found) == [("1", 0, 1.0), ("1", 0, 12.0), ("1", 1, 1.0), ("1", 1, 6.0)]
    assert build_examples([counted], showings, [Liked("p1", None, 2e9 + 1)]).samples == 20


def test_features_are_what_was_known_and_never_what_came_of_it() -> None:
    counted = Structure("1", "x", attributes={"colour": "red"}, statistics={"liked": 7, "shown": 20})
    data = build_examples([counted, B], [], [Liked(None, "2", 5)])
    assert set(data.columns) == {"item", "renderer", "skeleton", "colour", "renderer (attribute)"}
    assert data.item == "item"


def test_rows_come_oldest_first() -> None:
    data = build_examples([A, B], [shown(1, "1", 10), shown(2, "2", 20)], [Liked("r", "2", 30), Liked("s", "1", 31)])
    assert list(data.times_s) == sorted(data.times_s)


def test_only_judged_showings_with_a_propensity_tell_of_another_policy() -> None:
    showings = [shown(1, "1", 10), Shown(2, "1", None, "", 11), shown(3, "2", 50)]
    [one] = gather_logged([A, B], showings, [Liked(None, "1", 10.5), Liked(None, "1", 12)])
    assert (one.structure_id, one.propensity, one.liked) == ("1", 0.5, True)
