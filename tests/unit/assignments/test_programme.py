"""The solver against trying everything."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.assignments.programme import Place, Programme, drop_dominated, solve_programme
from app.errors import OverloadedError

LIMIT_S = 60.0
Choice = tuple[int | None, ...]


def allowed(programme: Programme, choice: Choice) -> bool:
    """Whether a choice keeps the rules."""
    duties = Counter(person for person in choice if person is not None)
    for place, person in zip(programme.places, choice, strict=True):
        if person is None or place.lead is None:
            continue
        lead = choice[place.lead]
        if lead is None or programme.gender[lead] != programme.gender[person] or duties[person] > 1:
            return False
    return True


def worth(programme: Programme, choice: Choice) -> tuple[object, ...]:
    """Give the aims in their order; greater is better."""
    taken = [(place, person) for place, person in zip(programme.places, choice, strict=True) if person is not None]
    duties = Counter(person for _, person in taken)
    beyond = [k for count in duties.values() for k in range(1, count)]
    return (
        sum(place.lead is None for place, _ in taken),
        sum(place.lead is not None for place, _ in taken),
        -len(beyond),
        sum(programme.idle[person] * (2 if place.lead is None else 1) for place, person in taken),
        sum(place.learned[place.eligible.index(person)] for place, person in taken),
        -sum(programme.load[person] for _, person in taken) - sum(beyond),
        [-(len(programme.idle) if person is None else person) for person in choice],
    )


def best_of_all(programme: Programme) -> Choice:
    """Try everything."""
    options = [(*place.eligible, None) for place in programme.places]
    return max(
        (choice for choice in itertools.product(*options) if allowed(programme, choice)),
        key=lambda choice: worth(programme, choice),
    )


@st.composite
def programmes(draw: st.DrawFn) -> Programme:
    """Small meetings with many ties."""
    people = draw(st.integers(0, 6))
    figures = st.tuples(*[st.integers(0, 2)] * people)
    places: list[Place] = []
    for _ in range(draw(st.integers(0, 3))):
        for lead in (None, len(places)) if draw(st.booleans()) and len(places) < 3 else (None,):
            eligible = tuple(p for p in range(people) if draw(st.booleans()))
            learned = tuple(draw(st.sampled_from([0, 3333, 5000, 10_000])) for _ in eligible)
            places.append(Place(eligible, learned, lead))
    return Programme(tuple(places), draw(st.tuples(*[st.integers(0, 1)] * people)), draw(figures), draw(figures))


@settings(max_examples=200, deadline=None)
@given(programmes())
def test_the_choice_is_the_best_of_all(programme: Programme) -> None:
    assert tuple(solve_programme(programme, LIMIT_S)) == best_of_all(programme)


def like_a_meeting(seed: int, people: int, activities: int, weeks: int) -> Programme:
    """Roles that all share, as in real meetings."""
    rng = random.Random(seed)
    roles = [{role for role in range(3) if rng.random() < 0.6} for _ in range(people)]
    scores = [[rng.choice([3333, 5000, 6667]) for _ in range(3)] for _ in range(people)]
    places: list[Place] = []

    def add(role: int, lead: int | None) -> None:
        eligible = tuple(p for p in range(people) if role in roles[p])
        places.append(Place(eligible, tuple(scores[p][role] for p in eligible), lead))

    for _ in range(activities):
        add(rng.randrange(3), None)
        if rng.random() < 0.5:
            add(0, len(places) - 1)
    return Programme(
        tuple(places),
        tuple(rng.randrange(2) for _ in range(people)),
        tuple(rng.randint(1, weeks) for _ in range(people)),
        tuple(rng.randrange(3) for _ in range(people)),
    )


@pytest.mark.parametrize("seed", range(40))
def test_meetings_with_shared_roles_and_too_few_people_are_solved_best_too(seed: int) -> None:
    programme = like_a_meeting(seed, people=5, activities=3, weeks=1 + seed % 5)
    assert tuple(solve_programme(programme, LIMIT_S)) == best_of_all(programme)


def test_those_who_are_left_out_beforehand_are_not_needed() -> None:
    programme = like_a_meeting(1, people=60, activities=2, weeks=9)
    reduced = drop_dominated(programme)
    kept = {person for place in reduced.places for person in place.eligible}
    assert len(kept) < 40
    assert solve_programme(reduced, LIMIT_S) == solve_programme(programme, LIMIT_S)


def test_many_equal_people_come_in_the_order_of_the_input() -> None:
    everybody = tuple(range(50))
    places = tuple(Place(everybody, (5000,) * 50, index - 1 if index % 2 else None) for index in range(20))
    programme = Programme(places, (0,) * 50, (7,) * 50, (0,) * 50)
    assert solve_programme(programme, LIMIT_S) == list(range(20))


def test_extra_duties_are_spread_over_those_who_can_take_them() -> None:
    places = (Place((0, 1), (0, 0)),) * 4
    assert sorted(solve_programme(Programme(places, (0, 0), (5, 5), (0, 0)), LIMIT_S)) == [0, 0, 1, 1]  # type: ignore[type-var]  # all are filled


def test_more_time_than_is_allowed_is_not_taken() -> None:
    programme = like_a_meeting(3, people=200, activities=30, weeks=20)
    with pytest.raises(OverloadedError, match="MEETING_TIME_LIMIT_S"):
        solve_programme(programme, 0.001)
