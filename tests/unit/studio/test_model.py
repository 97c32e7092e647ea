"""The studio's pure rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidError
from app.studio.model import (
    Asked,
    Numbers,
    SettingsRecord,
    Structure,
    check_asked,
    clean,
    count_like,
    cut_slices,
    fingerprint,
    join_sentences,
    like_rate,
    rate_deviation,
    read_attributes,
    read_structure_id,
    resolve_numbers,
    write_summary,
)

DEFAULTS = Numbers(5, 12, "ImageFX")


def test_the_request_wins_over_the_settings_record_and_that_over_the_environment() -> None:
    record = SettingsRecord(num_ideas=7, num_prompts=30, renderer="Recraft")
    assert resolve_numbers(Asked(num_prompts=3), record, DEFAULTS)[0] == Numbers(7, 3, "Recraft")
    assert resolve_numbers(Asked(), SettingsRecord(), DEFAULTS)[0] == DEFAULTS


def test_a_zero_of_the_request_is_a_number_and_not_an_absence() -> None:
    assert resolve_numbers(Asked(num_ideas=0, num_prompts=0), SettingsRecord(num_ideas=7), DEFAULTS)[0] == Numbers(
        0, 0, "ImageFX"
    )


def test_a_record_number_out_of_range_is_moved_into_it_and_said() -> None:
    numbers, notes = resolve_numbers(Asked(), SettingsRecord(num_ideas=-2, num_prompts=9000), DEFAULTS)
    assert (numbers.num_ideas, numbers.num_prompts) == (0, 500)
    assert notes == (
        "settings: batchSize is -2, outside 0..50; 0 was used",
        "settings: numPrompts is 9000, outside 0..500; 500 was used",
    )


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Asked(num_ideas=51), "num_ideas"),
        (Asked(num_ideas=-1), "num_ideas"),
        (Asked(num_prompts=501), "num_prompts"),
        (Asked(renderer="x" * 101), "renderer"),
    ],
)
def test_numbers_out_of_range_are_refused_by_their_names(asked: Asked, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_asked(asked)
    assert set(caught.value.errors) == {field}


def test_a_manual_generation_of_nothing_is_refused_and_a_batch_of_nothing_is_not() -> None:
    assert check_asked(Asked(num_prompts=0)).num_prompts == 0
    with pytest.raises(InvalidError):
        check_asked(Asked(num_prompts=0), fewest_prompts=1)


def test_a_blank_renderer_counts_as_none() -> None:
    assert check_asked(Asked(renderer="  ")).renderer is None


@given(st.integers(0, 500))
def test_slices_cover_every_place_once_and_are_never_larger_than_ten(total: int) -> None:
    slices = cut_slices(total)
    places = [part["offset"] + at for part in slices for at in range(part["count"])]
    assert places == list(range(total))
    assert all(1 <= part["count"] <= 10 and part["total"] == total for part in slices)


def test_the_summary_says_each_stage_that_was_asked_for() -> None:
    assert write_summary(None, 5, 12) == "5 new structure ideas generated. 12 prompts created."
    assert write_summary("completed", None, 12) == "Learning cycle completed. 12 prompts created."
    assert write_summary(None, 0, None) == "0 new structure ideas generated."


def test_nothing_seen_is_a_half_and_one_like_is_no_certainty() -> None:
    assert like_rate(0, 0) == 0.5
    assert like_rate(1, 1) == pytest.approx(2 / 3)
    assert like_rate(3, 1) == pytest.approx(4 / 5)  # old images may be liked too
    assert rate_deviation(0, 0) > rate_deviation(5, 10) > rate_deviation(50, 100)


def test_case_blanks_and_punctuation_do_not_make_new_words() -> None:
    assert fingerprint("A linen coat,  at dawn.") == fingerprint("a LINEN coat at dawn")
    assert fingerprint("A linen coat") != fingerprint("A linen cape")
    assert fingerprint("same", {"form": "street"}) != fingerprint("same", {"form": "studio"})


def test_text_loses_what_a_column_cannot_hold() -> None:
    assert clean(" a\x00b\ud800c\r\nd ") == "a b c\nd"
    assert clean("a\n b", keep_lines=False) == "a b"


@pytest.mark.parametrize(("raw", "expected"), [(42, "42"), (42.0, "42"), ("42", "42"), (" rec1 ", "rec1")])
def test_a_structure_id_may_be_a_number_or_a_text(raw: object, expected: str) -> None:
    assert read_structure_id(raw) == expected


@pytest.mark.parametrize("raw", [True, 1.5, "", None, [], "x" * 201, float("inf")])
def test_other_structure_ids_are_refused(raw: object) -> None:
    with pytest.raises((ValueError, OverflowError)):
        read_structure_id(raw)


def test_attributes_are_up_to_64_names_to_scalars() -> None:
    assert read_attributes({"a": 1, "b": "x", "c": True, "d": None}) == {"a": 1, "b": "x", "c": True}
    many: dict[str, object] = {str(number): number for number in range(65)}
    wrong: list[dict[str, object]] = [many, {"": 1}, {"a": []}, {"a": float("nan")}, {"a": "x" * 501}]
    for bad in wrong:
        with pytest.raises(ValueError, match="ust"):
            read_attributes(bad)


def test_a_threshold_is_reached_once_and_again_only_a_threshold_further_on() -> None:
    likes, at, seen = 0, 0, []
    for _ in range(6):
        counted = count_like(likes, at, 3, cycle_running=False)
        likes, at = counted.likes, counted.at_last_try
        seen.append(counted.status)
    assert seen == ["recorded", "recorded", "threshold_reached"] * 2


def test_a_like_during_a_cycle_is_queued_and_counted() -> None:
    counted = count_like(30, 25, 3, cycle_running=True)
    assert (counted.likes, counted.at_last_try, counted.status) == (31, 25, "queued")


def test_retired_structures_are_not_usable_whatever_their_case() -> None:
    assert Structure("1", "x").usable
    assert not Structure("1", "x", status="Archived").usable


def test_the_same_problem_is_said_once() -> None:
    assert join_sentences(["Away.", "Away", " "]) == "Away."
    assert join_sentences([]) is None
