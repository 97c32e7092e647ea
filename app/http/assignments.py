"""Assignments: who should take a task, what came of it, and whole meetings."""

from __future__ import annotations

from typing import Any

from app import __version__
from app.assignments.meeting import Activity, Candidate, Meeting
from app.assignments.model import Person, Result
from app.assignments.service import Feedback, Task
from app.http.answers import page_headers
from app.http.application import application
from app.http.assignment_schemas import (
    AssignAnswerSchema,
    AssignRequestSchema,
    ConfigSchema,
    FeedbackAnswerSchema,
    FeedbackRequestSchema,
    HistoryEntrySchema,
    MeetingAnswerSchema,
    MeetingRequestSchema,
    PersonSchema,
    PersonsRequestSchema,
    WeightsSchema,
)
from app.http.resource import Resource, Route, Rule
from app.http.schemas import PageQuerySchema

Paged = tuple[list[dict[str, Any]], dict[str, str]]

resource = Resource("assignments", "Who should take a task.")
USERS = Rule(tolerant=True)


@resource.serves(Route(path="/v1/config", answer=ConfigSchema, rule=Rule(is_open=True)))
def get_config() -> dict[str, Any]:
    """Say that the service is there."""
    return {"version": __version__, "status": "active"}


@resource.serves(
    Route(
        path="/v1/assign",
        method="POST",
        body=AssignRequestSchema,
        answer=AssignAnswerSchema,
        problems=(404,),
        rule=USERS,
    )
)
def assign_task(body: dict[str, Any]) -> dict[str, Any]:
    """Rank persons for a task; unknown ones are skipped, unavailable ones left out."""
    task = Task(body["role"], tuple(body["person_ids"]), body.get("stats") or {}, body.get("weights") or {})
    return {"status": "assigned", "data": application().assignments.assign_task(task)}


@resource.serves(
    Route(
        path="/v1/feedback",
        method="POST",
        body=FeedbackRequestSchema,
        answer=FeedbackAnswerSchema,
        problems=(404,),
        rule=USERS,
    )
)
def record_feedback(body: dict[str, Any]) -> dict[str, Any]:
    """Learn from what came of an assignment, at once and for good."""
    feedback = Feedback(body["role"], body["person_id"], Result(body["result"]), body.get("alternative_id"))
    return {"status": "feedback_processed", "data": application().assignments.record_feedback(feedback)}


@resource.serves(
    Route(path="/v1/assign_meeting", method="POST", body=MeetingRequestSchema, answer=MeetingAnswerSchema, rule=USERS)
)
def assign_meeting(body: dict[str, Any]) -> dict[str, Any]:
    """Fill a whole meeting at once; the same week sent again replaces that week."""
    return application().assignments.assign_meeting(_read_meeting(body))


@resource.serves(Route(path="/v1/persons", answer=PersonSchema, many=True, query=PageQuerySchema, paged=True))
def list_persons(query: dict[str, Any]) -> Paged:
    """List persons, newest first."""
    return _paged(application().assignments.list_persons(**query), query)


@resource.serves(Route(path="/v1/persons", method="POST", body=PersonsRequestSchema, answer=PersonSchema, many=True))
def add_persons(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Store persons, all or none; one whose id is known is written over."""
    return application().assignments.add_persons([_read_person(each) for each in body["persons"]])


@resource.serves(Route(path="/v1/history", answer=HistoryEntrySchema, many=True, query=PageQuerySchema, paged=True))
def list_history(query: dict[str, Any]) -> Paged:
    """List duties given by meetings, and feedback, newest first."""
    return _paged(application().assignments.list_history(**query), query)


@resource.serves(Route(path="/v1/weights", answer=WeightsSchema))
def get_weights() -> dict[str, Any]:
    """Show the formula's weights, and those that feedback made for roles."""
    return application().assignments.show_weights()


def _read_person(body: dict[str, Any]) -> Person:
    known = {name: value for name, value in body.items() if name not in {"id", "metadata"}}
    return Person(person_id=body["id"], **known, metadata=body["metadata"] or {})


def _read_meeting(body: dict[str, Any]) -> Meeting:
    candidates = (
        Candidate(c["id"], c["name"], c["gender"], tuple(c["roles"]), c.get("last_assignment_weeks_ago"))
        for c in body["candidates"]
    )
    return Meeting(
        week_date=body["week_date"],
        candidates=tuple(candidates),
        activities=tuple(Activity(a["type"], a["title"], a["requires_assistant"]) for a in body["activities"]),
        exclude_names=tuple(body.get("exclude_names") or ()),
        exclude_ids=tuple(body.get("exclude_ids") or ()),
    )


def _paged(listing: tuple[list[dict[str, Any]], int], query: dict[str, Any]) -> Paged:
    rows, total = listing
    return rows, page_headers(total, query["page"], query["page_size"])
