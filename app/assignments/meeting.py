"""A meeting: who may take which place, what it comes to, and why. Pure but for the solver's arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from app.assignments.model import same_name

if TYPE_CHECKING:
    from app.assignments.programme import Place

MAX_CANDIDATES = 500
MAX_ACTIVITIES = 60
WEEKS_MAX = 5_200
"""A century: whoever waits longer counts as waiting this long."""

TEACHING = "seamos_mejores_maestros"
PUBLISHER = "publicador"
GENERIC = "generic"
LEAD, ASSISTANT = "lead", "assistant"
SCORE_STEPS = 10_000
"""A learned score's probability as a whole number, so that equal ones are equal."""

NEUTRAL_SCORE = 0.5
REASONS_SHOWN = 3


@dataclass(frozen=True)
class Candidate:
    """Somebody a meeting may use, as the request describes him."""

    candidate_id: int
    name: str
    gender: str
    roles: tuple[str, ...]
    weeks_ago: int | None = None


@dataclass(frozen=True)
class Activity:
    """A part of a meeting."""

    kind: str
    title: str
    requires_assistant: bool = False

    @property
    def role(self) -> str:
        """The role its lead needs."""
        return PUBLISHER if self.kind == TEACHING else self.kind

    @property
    def duties(self) -> tuple[tuple[str, str], ...]:
        """Its places: whether the lead's or the assistant's, and the role each needs."""
        lead = (LEAD, self.role)
        return (lead, (ASSISTANT, PUBLISHER)) if self.requires_assistant else (lead,)


@dataclass(frozen=True)
class Meeting:
    """What is to be assigned."""

    week_date: date
    candidates: tuple[Candidate, ...]
    activities: tuple[Activity, ...]
    exclude_names: tuple[str, ...] = ()
    exclude_ids: tuple[int, ...] = ()

    @property
    def monday(self) -> date:
        """The first day of its week."""
        return monday_of(self.week_date)


@dataclass(frozen=True)
class Standing:
    """How a candidate stands before the meeting.

    Args:
        weeks: without a duty; None: nobody knows.
        load: duties of late.
        scores: role to the probability that he is accepted in it.
    """

    weeks: int | None
    load: int = 0
    scores: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Duty:
    """A place with whoever got it.

    Args:
        person: his position among the candidates; None: nobody.
    """

    activity: int
    duty: str
    role: str
    person: int | None


def monday_of(day: date) -> date:
    """Give the first day of a day's week."""
    return day - timedelta(days=day.weekday())


class MeetingPlan:
    """One meeting: eligibility, the best choice, and the words for it.

    Args:
        meeting: what is asked.
        standings: one a candidate, in their order.
        rest_weeks: weeks that must lie between two duties.
    """

    def __init__(self, meeting: Meeting, standings: Sequence[Standing], rest_weeks: int) -> None:
        self._meeting = meeting
        self._standings = standings
        self._rest_weeks = rest_weeks
        longest = max((s.weeks for s in standings if s.weeks is not None), default=0)
        self._idle = [min(longest, WEEKS_MAX) + 1 if s.weeks is None else min(s.weeks, WEEKS_MAX) for s in standings]
        names = {same_name(name) for name in meeting.exclude_names}
        ids = set(meeting.exclude_ids)
        self._excluded = [c.candidate_id in ids or same_name(c.name) in names for c in meeting.candidates]
        self._places = [
            Duty(index, duty, role, None)
            for index, activity in enumerate(meeting.activities)
            for duty, role in activity.duties
        ]
        self._able = [[i for i, c in enumerate(meeting.candidates) if _has_role(c, p.role)] for p in self._places]
        self._eligible = [tuple(i for i in able if self._may_serve(i)) for able in self._able]

    def solve(self, time_limit_s: float) -> list[Duty]:
        """Choose for all places at once.

        Raises:
            OverloadedError: the time was not enough.
        """
        from app.assignments.programme import (  # noqa: PLC0415 - who plans no meeting never loads the mathematics
            Programme,
            solve_programme,
        )

        genders = list(dict.fromkeys(same_name(c.gender) for c in self._meeting.candidates))
        programme = Programme(
            tuple(self._place(index) for index in range(len(self._places))),
            tuple(genders.index(same_name(c.gender)) for c in self._meeting.candidates),
            tuple(self._idle),
            tuple(standing.load for standing in self._standings),
        )
        chosen = solve_programme(programme, time_limit_s)
        return [Duty(p.activity, p.duty, p.role, who) for p, who in zip(self._places, chosen, strict=True)]

    def explain(self, duties: Sequence[Duty]) -> list[list[str]]:
        """Say for each activity why its places went as they did."""
        reasons: list[list[str]] = [[] for _ in self._meeting.activities]
        for index, duty in enumerate(duties):
            lead = duties[index - 1] if duty.duty == ASSISTANT else None
            said = self._why_empty(index, lead) if duty.person is None else self._why(index, duties, lead)
            reasons[duty.activity] += said
        return reasons

    def fairness(self, duties: Sequence[Duty]) -> dict[str, Any]:
        """Measure how evenly the meeting treats those who could serve."""
        used = Counter(duty.person for duty in duties if duty.person is not None)
        could = sorted({person for eligible in self._eligible for person in eligible})
        loads = [self._standings[person].load + used[person] for person in could]
        served = [self._idle[duty.person] for duty in duties if duty.person is not None]
        waiting = [self._idle[person] for person in could if not used[person]]
        return {
            "places": len(duties),
            "filled": len(served),
            "candidates_eligible": len(could),
            "candidates_used": len(used),
            "double_duty": sum(used.values()) - len(used),
            "mean_weeks_idle": sum(served) / len(served) if served else None,
            "longest_idle_left_out": max(waiting, default=None),
            "load_max": max(loads, default=0),
            "load_gini": gini(loads),
        }

    # --- eligibility ---

    def _may_serve(self, person: int) -> bool:
        weeks = self._standings[person].weeks
        return not self._excluded[person] and (weeks is None or weeks >= self._rest_weeks)

    def _place(self, index: int) -> Place:
        from app.assignments.programme import Place  # noqa: PLC0415 - the same

        place, eligible = self._places[index], self._eligible[index]
        learned = tuple(round(self._score(person, place.role) * SCORE_STEPS) for person in eligible)
        # A lead's place comes right before its assistant's.
        return Place(eligible, learned, index - 1 if place.duty == ASSISTANT else None)

    def _score(self, person: int, role: str) -> float:
        return min(max((self._standings[person].scores or {}).get(role, NEUTRAL_SCORE), 0.0), 1.0)

    # --- words ---

    def _why(self, index: int, duties: Sequence[Duty], lead: Duty | None) -> list[str]:
        duty = duties[index]
        person = duty.person or 0
        name = self._meeting.candidates[person].name
        who = f"{name}, assistant" if lead else name
        can = "anybody may do this" if duty.role == GENERIC else f"has the role {duty.role}"
        gender = ", of the same gender as the lead" if lead else ""
        reasons = [f"{who}: {can}{gender}; {self._idle_words(person)}."]
        if sum(1 for each in duties if each.person == person) > 1:
            reasons.append(f"{name}: has more than one duty, because a lead's place would stay empty otherwise.")
        rivals = [p for p in self._eligible[index] if self._idle[p] > self._idle[person]]
        rivals.sort(key=lambda p: -self._idle[p])
        reasons += [
            f"{self._meeting.candidates[rival].name} waits longer, {self._fate(rival, duties, lead)}."
            for rival in rivals[:REASONS_SHOWN]
        ]
        score, load = self._score(person, duty.role), self._standings[person].load
        if score != NEUTRAL_SCORE or load:
            reasons.append(f"{name}: expected to be accepted {score:.0%}, {load} duties of late.")
        return reasons

    def _fate(self, person: int, duties: Sequence[Duty], lead: Duty | None) -> str:
        for duty in duties:
            if duty.person == person:
                what = "leads" if duty.duty == LEAD else "assists in"
                return f"and {what} {self._meeting.activities[duty.activity].title!r}"
        if lead is not None and lead.person is not None and not self._same_gender(person, lead.person):
            return "but is of another gender than the lead"
        return "but the meeting as a whole is better so"

    def _why_empty(self, index: int, lead: Duty | None) -> list[str]:
        role, title = self._places[index].role, self._meeting.activities[self._places[index].activity].title
        place = f"No assistant for {title!r}" if lead else f"Nobody for {title!r}"
        if lead is not None and lead.person is None:
            return [f"{place}: it has no lead."]
        if not self._able[index]:
            return [f"{place}: no candidate has the role {role}."]
        if not self._eligible[index]:
            return [f"{place}: all with the role {role} are excluded or rested less than {self._rest_weeks} weeks."]
        if lead is not None and not any(self._same_gender(p, lead.person or 0) for p in self._eligible[index]):
            return [f"{place}: nobody who may serve is of the lead's gender."]
        return [f"{place}: all who could take it have another duty."]

    def _idle_words(self, person: int) -> str:
        weeks = self._standings[person].weeks
        if weeks is None:
            return f"no earlier duty is known, which counts as {self._idle[person]} weeks"
        return f"{weeks} weeks without a duty"

    def _same_gender(self, one: int, other: int) -> bool:
        candidates = self._meeting.candidates
        return same_name(candidates[one].gender) == same_name(candidates[other].gender)


def gini(figures: Sequence[int]) -> float:
    """Give Gini's coefficient: 0 when all are equal, near 1 when one has everything; 0 for nothing at all."""
    total = sum(figures)
    if not total:
        return 0.0
    weighted = sum((2 * rank - len(figures) - 1) * figure for rank, figure in enumerate(sorted(figures), 1))
    return weighted / (len(figures) * total)


def _has_role(candidate: Candidate, role: str) -> bool:
    return role == GENERIC or role in candidate.roles
