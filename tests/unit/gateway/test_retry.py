"""The retry policy: a pure table and a pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FatalError, LogicalError, PersistentError, ResourceError, StepError, TransientError
from app.runs.retry import LONGEST_ASKED_WAIT_S, MEDIA, GiveUp, Policy, Retry, decide


def half() -> float:
    return 0.5


def tries_until_given_up(kind: type[StepError], *, limit: int | None = None) -> int:
    tries = 1
    while isinstance(decide(kind("no"), tries, random=half, limit=limit), Retry):
        tries += 1
    return tries


@pytest.mark.parametrize(
    ("kind", "tries"),
    [(TransientError, 5), (ResourceError, 2), (LogicalError, 3), (PersistentError, 1), (FatalError, 1)],
)
def test_each_class_is_tried_as_often_as_the_table_says(kind: type[StepError], tries: int) -> None:
    assert tries_until_given_up(kind) == tries


def test_the_wait_doubles_from_one_second_and_stops_at_thirty() -> None:
    waits = [decide(TransientError("no"), tries, limit=99, random=lambda: 1.0) for tries in range(1, 8)]

    assert waits == [Retry(1), Retry(2), Retry(4), Retry(8), Retry(16), Retry(30), Retry(30)]


@given(tries=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_full_jitter_takes_any_part_of_the_wait(tries: int, chance: float) -> None:
    decision = decide(TransientError("no"), tries, limit=100_000, random=lambda: chance)

    assert isinstance(decision, Retry)
    assert decision.delay_s == pytest.approx(chance * min(30.0, 2.0 ** min(tries - 1, 60)))


@given(asked=st.floats(0, LONGEST_ASKED_WAIT_S), tries=st.integers(1, 4), chance=st.floats(0, 1, exclude_max=True))
def test_a_retry_never_comes_before_the_other_side_asked_for_it(asked: float, tries: int, chance: float) -> None:
    decision = decide(TransientError("no", retry_after_s=asked), tries, random=lambda: chance)

    assert isinstance(decision, Retry)
    assert decision.delay_s >= asked


def test_those_who_were_told_the_same_moment_do_not_all_come_at_it() -> None:
    chances = iter((0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    waits = {decide(TransientError("no", retry_after_s=7), 1, random=lambda: next(chances)) for _ in range(3)}

    assert len(waits) == 3


def test_an_absurd_retry_after_is_cut_to_an_hour() -> None:
    decision = decide(TransientError("no", retry_after_s=10**9), 1, random=half)

    assert isinstance(decision, Retry)
    assert decision.delay_s < LONGEST_ASKED_WAIT_S + 1


def test_a_task_may_ask_for_fewer_or_more_tries() -> None:
    assert tries_until_given_up(TransientError, limit=2) == 2
    assert tries_until_given_up(ResourceError, limit=7) == 7


def test_no_task_can_make_a_persistent_error_be_tried_again() -> None:
    assert decide(PersistentError("no"), 1, limit=10, random=half) == GiveUp("class")
    assert decide(FatalError("no"), 1, limit=10, random=half) == GiveUp("class")


def test_a_final_error_is_not_tried_again_whatever_its_class() -> None:
    assert decide(LogicalError("no", final=True), 1, random=half) == GiveUp("final")


def test_media_calls_keep_three_tries_after_one_and_two_seconds() -> None:
    decisions = [decide(TransientError("no"), tries, random=half, policy=MEDIA) for tries in (1, 2, 3)]

    assert decisions == [Retry(1), Retry(2), GiveUp("class")]


def test_a_class_that_a_policy_does_not_name_is_not_tried_again() -> None:
    assert decide(TransientError("no"), 1, random=half, policy=Policy(tries={})) == GiveUp("class")
