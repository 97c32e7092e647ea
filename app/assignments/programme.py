"""Solve a meeting as one integer programme, exactly, aim by aim.

What stands for what:

| symbol | is |
|---|---|
| x[i, p] | 1 when person p takes place i; only where p is eligible |
| d[p, k] | 1 when person p has a k-th duty beyond the first, k = 1, 2, …; leads only |

Rules: a place has one person at most; a person has 1 + sum of d[p] duties at most; whoever assists has that duty
alone; an assistant's gender is the lead's. Aims, each optimised with all earlier ones held at their best: most leads,
most assistants, least sum of d; greatest sum of weeks idle, a lead's double; greatest sum of learned scores; least
load, where a duty more in this meeting is load too; and last the input's order, place by place.

`branching.py` solves an aim, and holds it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.assignments.branching import Numbers, WholeModel

ORDER_SPAN = 100_000
"""Most combinations that the aim of the input's order weighs at once; its figures stay far below what a float holds."""


@dataclass(frozen=True)
class Place:
    """A lead's or an assistant's place.

    Args:
        eligible: who may take it; positions of persons in the input, ascending.
        learned: their scores in this place's role, whole numbers, in the same order.
        lead: for an assistant's place, which place its lead has.
    """

    eligible: tuple[int, ...]
    learned: tuple[int, ...]
    lead: int | None = None


@dataclass(frozen=True)
class Programme:
    """A meeting in numbers.

    Args:
        places: in the order of the activities, an assistant's right after its lead's.
        gender: a number for each person's gender.
        idle: each person's weeks without a duty.
        load: each person's duties of late.
    """

    places: tuple[Place, ...]
    gender: tuple[int, ...]
    idle: tuple[int, ...]
    load: tuple[int, ...]


def solve_programme(programme: Programme, time_limit_s: float) -> list[int | None]:
    """Give each place its person.

    Args:
        programme: the meeting.
        time_limit_s: for all aims together.

    Returns:
        For each place the person's position, or None; the same for the same input, always.

    Raises:
        OverloadedError: the time was not enough.
    """
    reduced = drop_dominated(programme)
    solver = _Solver(reduced, time.monotonic() + time_limit_s)
    return solver.solve()


def drop_dominated(programme: Programme) -> Programme:
    """Leave out those whom no best meeting can need.

    Of people who are eligible for the same places, somebody is never needed when as many others as there are places
    are at least as good in every aim: one of them would be free, and in his stead make the meeting better.
    """
    places_of: dict[int, list[int]] = defaultdict(list)
    for index, place in enumerate(programme.places):
        for person in place.eligible:
            places_of[person].append(index)
    classes: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for person in sorted(places_of):
        classes[programme.gender[person], tuple(places_of[person])].append(person)
    dropped: set[int] = set()
    for (_, indexes), members in classes.items():
        if len(members) > len(indexes):
            dropped |= _dominated(programme, indexes, members)
    return _without(programme, dropped) if dropped else programme


def _dominated(programme: Programme, indexes: tuple[int, ...], members: list[int]) -> set[int]:
    learned = [dict(zip(programme.places[i].eligible, programme.places[i].learned, strict=True)) for i in indexes]
    idle = np.array([programme.idle[p] for p in members])
    load = np.array([programme.load[p] for p in members])
    columns = [idle, -load, *_distinct([np.array([of[p] for p in members]) for of in learned])]
    at_least = np.ones((len(members), len(members)), dtype=bool)
    for column in columns:
        at_least &= column[:, None] >= column[None, :]
    earlier = np.triu(np.ones_like(at_least), 1)
    better = at_least & ((idle[:, None] > idle[None, :]) | (load[:, None] < load[None, :]) | earlier)
    counts = better.sum(axis=0)
    return {person for person, count in zip(members, counts, strict=True) if count >= len(indexes)}


def _distinct(columns: list[Numbers]) -> list[Numbers]:
    return list({column.tobytes(): column for column in columns}.values())


def _without(programme: Programme, dropped: set[int]) -> Programme:
    places = []
    for place in programme.places:
        kept = [(p, s) for p, s in zip(place.eligible, place.learned, strict=True) if p not in dropped]
        places.append(Place(tuple(p for p, _ in kept), tuple(s for _, s in kept), place.lead))
    return Programme(tuple(places), programme.gender, programme.idle, programme.load)


class _Solver:
    """The aims, one after another.

    Args:
        programme: without those who are dominated.
        deadline: on the monotonic clock, in seconds.
    """

    def __init__(self, programme: Programme, deadline: float) -> None:
        self._programme = programme
        self._deadline = deadline

    def solve(self) -> list[int | None]:
        """Go through all aims."""
        if not any(place.eligible for place in self._programme.places):
            return [None] * len(self._programme.places)
        model = self._fill_places()
        weeks = model.per_option(self._programme.idle) * np.where(model.is_lead, 2, 1)
        model.choice.improve(model.widen(weeks))
        model.choice.improve(model.widen(model.learned))
        if model.extra_rank.size or len(set(self._programme.load)) > 1:
            model.choice.improve(-np.concatenate([model.per_option(self._programme.load), model.extra_rank]))
        return _Order(model).solve()

    def _fill_places(self) -> _Model:
        """Aim at most leads, most assistants, least double duty; double duty is only looked at where it can help."""
        model = _Model(self._programme, self._deadline, doubles=False)
        model.choice.improve(model.fill_weights())
        leads, assistants = model.count_filled()
        open_leads = sum(1 for place in self._programme.places if place.lead is None and place.eligible)
        open_assistants = sum(1 for place in self._programme.places if place.lead is not None and place.eligible)
        if (leads, assistants) == (open_leads, open_assistants):
            return model
        wider = _Model(self._programme, self._deadline, doubles=True)
        if not wider.extra_rank.size:
            return model
        wider.choice.improve(wider.fill_weights())
        # Where double duty helps nobody the smaller model has the same best value, and is quicker.
        return model if wider.count_filled() == (leads, assistants) else wider


class _Model:
    """A meeting's columns and rules.

    Args:
        programme: the meeting.
        deadline: on the monotonic clock, in seconds.
        doubles: with columns for double duty.
    """

    def __init__(self, programme: Programme, deadline: float, *, doubles: bool) -> None:
        self.programme = programme
        options = [
            (i, p, s) for i, at in enumerate(programme.places) for p, s in zip(at.eligible, at.learned, strict=True)
        ]
        self.place, self.person, self.learned = (np.array(part, dtype=np.int64) for part in zip(*options, strict=True))
        self.is_lead = np.array([programme.places[i].lead is None for i in self.place])
        chances = Counter(self.person[self.is_lead].tolist()) if doubles else Counter[int]()
        extras = [(p, k) for p in sorted(chances) for k in range(1, chances[p])]
        self.extra_person = np.array([p for p, _ in extras], dtype=np.int64)
        self.extra_rank = np.array([k for _, k in extras], dtype=np.int64)
        self.options = len(options)
        self.width = self.options + len(extras)
        self.choice = WholeModel(self.width, deadline)
        self._add_rules()

    def per_option(self, figures: Sequence[int]) -> Numbers:
        """Give each option the figure of its person."""
        return np.array(figures, dtype=np.int64)[self.person]

    def widen(self, weights: Numbers) -> Numbers:
        """Add a nought for every column of double duty."""
        return np.concatenate([weights, np.zeros(self.width - self.options, dtype=np.int64)])

    def fill_weights(self) -> Numbers:
        """Weigh a lead above all assistants, and an assistant above all double duty."""
        places = self.programme.places
        assistants = sum(1 for place in places if place.lead is not None)
        doubles = len(places) + 1
        weights = np.where(self.is_lead, (assistants + 1) * doubles, doubles)
        return np.concatenate([weights, np.full(self.width - self.options, -1)])

    def count_filled(self) -> tuple[int, int]:
        """Count the leads and the assistants of the best known choice."""
        taken = self.choice.best[: self.options].astype(bool)
        leads = int((taken & self.is_lead).sum())
        return leads, int(taken.sum()) - leads

    def _add_rules(self) -> None:
        for index, place in enumerate(self.programme.places):
            mine = np.flatnonzero(self.place == index)
            if mine.size:
                self.choice.add_rule(1, (mine, 1))
            if mine.size and place.lead is not None:
                self._add_gender_rules(mine, np.flatnonzero(self.place == place.lead))
        for person in np.unique(self.person):
            self._add_duty_rules(person)

    def _add_gender_rules(self, assistants: Numbers, leads: Numbers) -> None:
        gender = np.array(self.programme.gender)
        groups = []
        for each in np.unique(gender[self.person[np.concatenate([assistants, leads])]]):
            those = assistants[gender[self.person[assistants]] == each]
            pair = leads[gender[self.person[leads]] == each]
            self.choice.add_rule(0, (those, 1), (pair, -1))
            groups.append(np.concatenate([those, pair]))
        self.choice.add_switch(groups)

    def _add_duty_rules(self, person: np.int64) -> None:
        duties = np.flatnonzero(self.person == person)
        extras = self.options + np.flatnonzero(self.extra_person == person)
        self.choice.add_rule(1, (duties, 1), (extras, -1))
        assisting = duties[~self.is_lead[duties]]
        if extras.size and assisting.size:
            self.choice.add_rule(extras.size, (assisting, extras.size), (extras, 1))


class _Order:
    """The last aim: among equal meetings the one whose places, in turn, have the earliest persons.

    Args:
        model: with all other aims held.
    """

    def __init__(self, model: _Model) -> None:
        self._model, self._choice = model, model.choice
        self._columns = [np.flatnonzero(model.place == i) for i in range(len(model.programme.places))]

    def solve(self) -> list[int | None]:
        """Settle place after place; a place that has its earliest person already costs nothing."""
        place = 0
        while place < len(self._columns):
            if self._rank(place) == 0:
                self._settle(place)
                place += 1
                continue
            group = self._group_from(place)
            self._choice.choose(self._weights(group))
            for each in group:
                self._settle(each)
            place = group[-1] + 1
        return [self._person(place) for place in range(len(self._columns))]

    def _open(self, place: int) -> Numbers:
        columns = self._columns[place]
        return columns[self._choice.is_open(columns)]

    def _rank(self, place: int) -> int:
        """Say how many would come before the one who has a place now; whoever nobody has ranks last."""
        columns = self._open(place)
        taken = np.flatnonzero(self._choice.best[columns])
        return int(taken[0]) if taken.size else len(columns)

    def _group_from(self, place: int) -> list[int]:
        group, span = [place], self._rank(place) + 1
        for other in range(place + 1, len(self._columns)):
            span *= len(self._open(other)) + 1
            if span > ORDER_SPAN:
                break
            group.append(other)
        return group

    def _weights(self, group: list[int]) -> Numbers:
        weights = np.zeros(self._model.width, dtype=np.int64)
        unit = 1
        for place in reversed(group):
            columns = self._open(place)
            weights[columns] = unit * (len(columns) - np.arange(len(columns)))
            unit *= len(columns) + 1
        return weights

    def _settle(self, place: int) -> None:
        self._choice.fix(self._columns[place])

    def _person(self, place: int) -> int | None:
        columns = self._columns[place]
        taken = columns[np.flatnonzero(self._choice.best[columns])]
        return int(self._model.person[taken[0]]) if taken.size else None
