"""Use cases: keep persons, rank them for a task, learn from feedback, plan a meeting."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.assignments.meeting import Candidate, Duty, Meeting, MeetingPlan, Standing, monday_of
from app.assignments.model import (
    DEFAULT_WEIGHTS,
    HEURISTIC,
    Facts,
    Person,
    Record,
    Result,
    features,
    formula,
    same_name,
    weights_for,
)
from app.assignments.ports import AssignmentScorer, MlStatus, NoScorer, NoTraining, RetrainTrigger
from app.assignments.store import Judgement, PastDuties, PgAssignmentStore
from app.errors import ConflictError, InvalidError, NotFoundError, OverloadedError
from app.settings import AssignmentSettings

MEETINGS_AT_ONCE = 2
"""Meetings a process computes side by side: each keeps a processor busy."""


@dataclass(frozen=True)
class Task:
    """A task somebody is wanted for.

    Args:
        stats: by person's id as text; stands over what is stored.
        weights: in place of the stored ones, where given.
    """

    role: str
    person_ids: tuple[int, ...]
    stats: Mapping[str, Any]
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Feedback:
    """What came of an assignment, and who would have been better."""

    role: str
    person_id: int
    result: Result
    alternative_id: int | None = None


@dataclass(frozen=True)
class _Applicant:
    person: Person
    facts: Facts
    record: Record


class AssignmentService:
    """Assignments' use cases.

    Args:
        store: the database.
        settings: thresholds and limits.
        scorer: the learned part of scores.
        trigger: what starts a training.
    """

    def __init__(
        self,
        store: PgAssignmentStore,
        settings: AssignmentSettings,
        scorer: AssignmentScorer | None = None,
        trigger: RetrainTrigger | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._scorer = scorer or NoScorer()
        self._trigger = trigger or NoTraining()
        self._desks = threading.BoundedSemaphore(MEETINGS_AT_ONCE)

    # --- persons, history, weights ---

    def add_persons(self, people: Sequence[Person]) -> list[dict[str, Any]]:
        """Store persons, all or none; one whose id is known is written over.

        Raises:
            InvalidError: an id is there twice.
        """
        ids = [person.person_id for person in people]
        if len(set(ids)) < len(ids):
            twice = sorted({person_id for person_id in ids if ids.count(person_id) > 1})
            raise InvalidError(errors={"persons": [f"The id {person_id} is there twice." for person_id in twice[:10]]})
        return [_show_person(row) for row in self._store.put_persons(people)]

    def list_persons(self, page: int, page_size: int) -> tuple[list[dict[str, Any]], int]:
        """Give a page of persons, newest first, and how many there are."""
        rows, total = self._store.list_persons(page, page_size)
        return [_show_person(row) for row in rows], total

    def list_history(self, page: int, page_size: int) -> tuple[list[dict[str, Any]], int]:
        """Give a page of the history, newest first, and how long it is."""
        return self._store.list_history(page, page_size)

    def show_weights(self) -> dict[str, Any]:
        """Show the formula's weights, and those that feedback made for roles."""
        with self._store.transaction() as connection:
            stored, updated_at = self._store.read_weights(connection)
        return {"weights": {**DEFAULT_WEIGHTS, **stored}, "updated_at": updated_at}

    # --- one task ---

    def assign_task(self, task: Task) -> dict[str, Any]:
        """Rank persons for a task; those who are unavailable are left out before anything is scored.

        Returns:
            The best, and the ranking, best first; among equals the request's order decides.

        Raises:
            NotFoundError: none of the ids is a person's.
            ConflictError: all of them are unavailable.
            InvalidError: stats of one of them cannot be read.
        """
        ids = list(dict.fromkeys(task.person_ids))
        with self._store.transaction() as connection:
            known = self._store.find_persons(connection, ids)
            records = self._store.read_records(connection, [task.role], known)
            stored, _ = self._store.read_weights(connection)
        if not known:
            raise NotFoundError("None of the person_ids is known.", code="person_not_found")
        everybody = [
            _Applicant(known[i], _read_stats(known[i], task.stats), records.get((i, task.role), Record()))
            for i in ids
            if i in known
        ]
        available = [each for each in everybody if each.facts.available]
        if not available:
            raise ConflictError("Nobody of the person_ids is available.", code="nobody_available")
        ranking, version = self._rank(task.role, available, weights_for(task.role, stored, task.weights))
        return {
            "person_id": ranking[0]["person_id"],
            "score": ranking[0]["score"],
            "role": task.role,
            "model_version": version,
            "ranking": ranking,
            "skipped_ids": [i for i in ids if i not in known],
            "unavailable_ids": [each.person.person_id for each in everybody if not each.facts.available],
        }

    def _rank(
        self, role: str, people: Sequence[_Applicant], weights: Mapping[str, float]
    ) -> tuple[list[dict[str, Any]], str]:
        learned = self._scorer.score([features(role, each.person, each.facts, each.record) for each in people])
        ranking: list[dict[str, Any]] = []
        for index, each in enumerate(people):
            terms = formula(role, each.facts, each.record, weights)
            score, reasons = sum(term.value for term in terms), [term.reason for term in terms]
            if learned is not None:
                part = learned.weight * learned.values[index]
                score += part
                reasons.append(f"expected to be accepted, learned ({part:+.3g})")
            ranking.append({"person_id": each.person.person_id, "score": score, "reasons": reasons})
        ranking.sort(key=lambda entry: -entry["score"])
        return ranking, HEURISTIC if learned is None else learned.model_version

    # --- feedback ---

    def record_feedback(self, feedback: Feedback) -> dict[str, Any]:
        """Learn from a feedback: the role's weight and the history change together, at once and for good.

        Raises:
            NotFoundError: the person or the alternative is unknown.
            InvalidError: the alternative is the person.
        """
        if feedback.alternative_id == feedback.person_id:
            raise InvalidError(errors={"alternative_id": ["Must be somebody else than person_id."]})
        with self._store.transaction() as connection:
            ids = [i for i in (feedback.person_id, feedback.alternative_id) if i is not None]
            known = self._store.find_persons(connection, ids)
            for name, person_id in (("person_id", feedback.person_id), ("alternative_id", feedback.alternative_id)):
                if person_id is not None and person_id not in known:
                    raise NotFoundError(f"There is no person with the {name} {person_id}.", code="person_not_found")
            # First, for it makes others who judge the same role wait: what is known is then exact.
            self._store.move_role_weight(connection, feedback.role, feedback.result.weight_step)
            records = self._store.read_records(connection, [feedback.role], ids)
            described = [
                features(feedback.role, known[i], known[i].facts(), records.get((i, feedback.role), Record()))
                for i in ids
            ]
            facts = dict(zip(("person", "alternative"), described, strict=False))
            judgement = Judgement(feedback.role, feedback.person_id, feedback.result, feedback.alternative_id, facts)
            self._store.add_judgement(connection, judgement)
            waiting = self._store.count_feedback(connection)
            stored, _ = self._store.read_weights(connection)
        return self._answer_feedback(waiting, stored)

    def _answer_feedback(self, waiting: int, stored: Mapping[str, float]) -> dict[str, Any]:
        threshold = self._settings.feedback_threshold
        status = self._trigger.feedback_arrived(waiting, threshold)
        retrained = status is MlStatus.RETRAINED
        return {
            "status": "weights_updated_and_model_retrained" if retrained else "weights_updated",
            "weights": {**DEFAULT_WEIGHTS, **stored},
            "ml_status": status.value,
            "feedback_since_last_retrain": 0 if retrained else waiting,
            "threshold": threshold,
        }

    # --- a meeting ---

    def assign_meeting(self, meeting: Meeting) -> dict[str, Any]:
        """Plan a whole meeting at once; the same week planned again replaces that week's history.

        Raises:
            InvalidError: two candidates have one id.
            OverloadedError: it could not be computed in time, or too many others are.
        """
        ids = [candidate.candidate_id for candidate in meeting.candidates]
        if len(set(ids)) < len(ids):
            raise InvalidError(errors={"candidates": ["Two candidates have the same id."]})
        stored = self._find_stored(meeting)
        plan = MeetingPlan(meeting, self._judge_standings(meeting, stored), self._settings.meeting_rest_weeks)
        duties = self._solve(plan)
        self._store.replace_week(meeting.monday, _history_rows(meeting, duties, stored))
        return _show_meeting(meeting, plan, duties)

    def _solve(self, plan: MeetingPlan) -> list[Duty]:
        limit_s = self._settings.meeting_time_limit_s
        if not self._desks.acquire(timeout=limit_s):
            raise OverloadedError("Too many meetings are being computed.", retry_after_s=limit_s, code="meetings_busy")
        try:
            return plan.solve(limit_s)
        finally:
            self._desks.release()

    def _find_stored(self, meeting: Meeting) -> dict[int, Person]:
        """Give those persons that candidates are: by id and name, or it is somebody else's history."""
        with self._store.transaction() as connection:
            known = self._store.find_persons(connection, [c.candidate_id for c in meeting.candidates])
        names = {c.candidate_id: same_name(c.name) for c in meeting.candidates}
        return {i: person for i, person in known.items() if same_name(person.nombre) == names[i]}

    def _judge_standings(self, meeting: Meeting, stored: Mapping[int, Person]) -> list[Standing]:
        past = self._store.read_duties(stored, meeting.monday)
        weeks = [_weeks_idle(meeting, candidate, past.get(candidate.candidate_id)) for candidate in meeting.candidates]
        scores = self._score_roles(meeting, stored, weeks)
        loads = {
            i: max(person.facts().assignments_last_4w, past[i].recent if i in past else 0)
            for i, person in stored.items()
        }
        return [
            Standing(weeks[index], loads.get(candidate.candidate_id, 0), scores[index])
            for index, candidate in enumerate(meeting.candidates)
        ]

    def _score_roles(
        self, meeting: Meeting, stored: Mapping[int, Person], weeks: Sequence[int | None]
    ) -> list[dict[str, float]]:
        """Score candidates in the meeting's roles: by what is learned, else by how they were judged before."""
        roles = sorted({role for activity in meeting.activities for _, role in activity.duties})
        with self._store.transaction() as connection:
            records = self._store.read_records(connection, roles, stored)
        rows: list[dict[str, Any]] = []
        rates: list[float] = []
        for candidate, idle in zip(meeting.candidates, weeks, strict=True):
            person = stored.get(candidate.candidate_id)
            facts = Facts() if person is None else person.facts()
            for role in roles:
                record = records.get((candidate.candidate_id, role), Record())
                rows.append({**features(role, person, facts, record), "weeks_idle": idle})
                rates.append(record.rate)
        learned = self._scorer.score(rows) if rows else None
        values = rates if learned is None else list(learned.values)
        return [
            dict(zip(roles, values[index * len(roles) :], strict=False)) for index in range(len(meeting.candidates))
        ]


def _weeks_idle(meeting: Meeting, candidate: Candidate, past: PastDuties | None) -> int | None:
    if candidate.weeks_ago is not None or past is None:
        return candidate.weeks_ago
    return (meeting.monday - monday_of(past.last_week)).days // 7


def _read_stats(person: Person, stats: Mapping[str, Any]) -> Facts:
    key = str(person.person_id)
    given = stats.get(key)
    if given is not None and not isinstance(given, dict):
        raise InvalidError(errors={f"stats.{key}": ["Must be an object."]})
    try:
        return person.facts(given)
    except ValueError as error:
        raise InvalidError(errors={f"stats.{key}": [str(error)]}) from None


def _history_rows(meeting: Meeting, duties: Sequence[Duty], stored: Collection[int]) -> list[dict[str, Any]]:
    rows = []
    for duty in duties:
        who = None if duty.person is None else meeting.candidates[duty.person].candidate_id
        if who in stored:
            rows.append({"person_id": who, "role": duty.role, "week_date": meeting.week_date, "duty": duty.duty})
    return rows


def _show_person(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": row["person_id"], **{name: value for name, value in row.items() if name != "person_id"}}


def _show_meeting(meeting: Meeting, plan: MeetingPlan, duties: Sequence[Duty]) -> dict[str, Any]:
    entries: list[dict[str, Any]] = [
        {"tema": activity.title, "publicador": None, "ayudante": None, "reasons": reasons}
        for activity, reasons in zip(meeting.activities, plan.explain(duties), strict=True)
    ]
    for duty in duties:
        if duty.person is not None:
            candidate = meeting.candidates[duty.person]
            shown = {"id": candidate.candidate_id, "nombre": candidate.name, "genero": candidate.gender}
            entries[duty.activity]["publicador" if duty.duty == "lead" else "ayudante"] = shown
    return {"week_date": meeting.week_date, "assignments": entries, "fairness": plan.fairness(duties)}
