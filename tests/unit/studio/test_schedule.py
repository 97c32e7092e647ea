"""When the day's batch is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.studio.schedule import RETRY_PAUSE, Tried, due_firing, last_firing, next_try

SIX = "0 6 * * *"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_six_in_the_morning_is_meant_in_the_zone() -> None:
    assert last_firing(at("2026-11-20 12:00"), SIX, "UTC") == at("2026-11-20 06:00")
    assert last_firing(at("2026-11-20 12:00"), SIX, "Europe/Madrid") == at("2026-11-20 05:00")
    assert last_firing(at("2026-07-20 12:00"), SIX, "Europe/Madrid") == at("2026-07-20 04:00")
    assert last_firing(at("2026-11-20 12:00"), SIX, "Pacific/Kiritimati") == at("2026-11-19 16:00")


def test_the_instant_itself_counts_and_a_moment_before_it_does_not() -> None:
    assert last_firing(at("2026-11-20 06:00"), SIX, "UTC") == at("2026-11-20 06:00")
    assert last_firing(at("2026-11-20 05:59:59"), SIX, "UTC") == at("2026-11-19 06:00")


@pytest.mark.parametrize("zone", ["Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "America/Santiago"])
def test_every_day_of_a_year_fires_once_across_both_shifts_of_the_clock(zone: str) -> None:
    for cron in (SIX, "30 2 * * *", "30 1 * * *", "15 0 * * *"):
        moment, fired = at("2026-01-01 00:00"), set()
        while moment < at("2027-01-01 00:00"):
            fired.add(last_firing(moment, cron, zone))
            moment += timedelta(hours=8)
        gaps = {later - earlier for earlier, later in zip(sorted(fired), sorted(fired)[1:], strict=False)}
        assert gaps <= {timedelta(hours=24) + timedelta(minutes=30 * shift) for shift in (-2, -1, 0, 1, 2)}
        assert 365 <= len(fired) <= 366


def test_a_time_the_shift_leaves_out_fires_an_hour_later_that_day() -> None:
    assert last_firing(at("2026-03-29 12:00"), "30 2 * * *", "Europe/Madrid") == at("2026-03-29 01:30")


def test_a_time_that_comes_twice_fires_the_first_time_only() -> None:
    first = at("2026-10-25 00:30")  # 02:30 in summer time; 01:30 UTC would be the second 02:30
    assert last_firing(at("2026-10-25 00:45"), "30 2 * * *", "Europe/Madrid") == first
    assert last_firing(at("2026-10-25 01:45"), "30 2 * * *", "Europe/Madrid") == first


def test_a_schedule_of_every_minute_and_one_of_once_a_year_both_find_their_instant() -> None:
    assert last_firing(at("2026-11-20 12:34:56"), "* * * * *", "Europe/Madrid") == at("2026-11-20 12:34")
    assert last_firing(at("2026-11-20 12:00"), "0 6 1 1 *", "UTC") == at("2026-01-01 06:00")


def test_a_missed_batch_is_caught_up_only_within_its_hours() -> None:
    assert due_firing(at("2026-11-20 11:59"), SIX, "UTC", 6) == at("2026-11-20 06:00")
    assert due_firing(at("2026-11-20 12:01"), SIX, "UTC", 6) is None


def test_without_catching_up_a_beat_that_is_a_little_late_still_fires() -> None:
    assert due_firing(at("2026-11-20 06:01"), SIX, "UTC", 0) == at("2026-11-20 06:00")
    assert due_firing(at("2026-11-20 06:11"), SIX, "UTC", 0) is None


def test_any_success_since_the_instant_satisfies_it() -> None:
    assert next_try(at("2026-11-20 06:01"), Tried(satisfied=True)) is None


def test_a_batch_under_way_is_not_started_again() -> None:
    assert next_try(at("2026-11-20 06:01"), Tried(tries=1, active=True)) is None


def test_a_failed_batch_leaves_the_day_open_for_three_tries_with_a_pause_between_them() -> None:
    ended = at("2026-11-20 06:01")
    assert next_try(ended, Tried()) == 1
    assert next_try(ended + RETRY_PAUSE - timedelta(seconds=1), Tried(1, ended)) is None
    assert next_try(ended + RETRY_PAUSE, Tried(1, ended)) == 2
    assert next_try(ended + RETRY_PAUSE, Tried(2, ended)) == 3
    assert next_try(ended + RETRY_PAUSE, Tried(3, ended)) is None
