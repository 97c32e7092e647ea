"""The studio: batches, likes, structures, prompts, ideas, scores."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from app.access.model import Scope
from app.http.answers import page_headers
from app.http.application import application, identity
from app.http.options import RunOptions, read_options
from app.http.resource import Resource, Route, Rule
from app.http.schemas import IgnoredBodySchema, NoBodySchema, PageQuerySchema
from app.http.starting import Begun, start_and_answer, start_and_go_on
from app.http.studio_schemas import (
    BatchAnswerSchema,
    BatchSchema,
    DailyBatchRequestSchema,
    IdeaSchema,
    IdeasQuerySchema,
    LikeAnswerSchema,
    LikeRequestSchema,
    ManualAnswerSchema,
    ManualRequestSchema,
    PromptSchema,
    ResetAnswerSchema,
    RetrainAnswerSchema,
    RetrainRequestSchema,
    ScoredStructureSchema,
    ScoresSchema,
    StatusSchema,
    StructureSchema,
    StructuresRequestSchema,
    SyncedSchema,
)
from app.http.workflows import answer_estimate
from app.studio.model import Asked
from app.studio.starting import StartOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response
    from sqlalchemy import Connection

    from app.studio.model import Listing
    from app.studio.starting import StartedBatch

    Paged = tuple[list[dict[str, Any]], dict[str, str]]
    StartBatch = Callable[[Asked, StartOptions, Connection | None], StartedBatch]

resource = Resource("studio", "Structures, ideas, prompts and likes.")
USERS = Rule(tolerant=True)
DAILY_WAIT_S = 280.0
MANUAL_WAIT_S = 110.0


@resource.serves(
    Route(
        path="/events/daily_batch",
        method="POST",
        body=DailyBatchRequestSchema,
        answer=BatchAnswerSchema,
        starts_run=True,
        rule=USERS,
    )
)
def start_daily_batch(body: dict[str, Any]) -> Response:
    """Make the day's ideas and prompts; while a batch is under way, join it."""
    options, asked = _read_options(body), _read_asked(body)
    studio = application().studio
    if options.dry_run:
        return answer_estimate(studio.plan_daily_batch(asked))
    return start_and_answer(partial(_start, studio.start_daily_batch, asked, options), DAILY_WAIT_S)


@resource.serves(
    Route(
        path="/events/manual_generate",
        method="POST",
        body=ManualRequestSchema,
        answer=ManualAnswerSchema,
        starts_run=True,
        rule=USERS,
    )
)
def start_manual_generation(body: dict[str, Any]) -> Response:
    """Make prompts now, from known structures."""
    options, asked = _read_options(body), _read_asked(body)
    studio = application().studio
    if options.dry_run:
        return answer_estimate(studio.plan_manual_generation(asked))
    return start_and_answer(partial(_start, studio.start_manual_generation, asked, options), MANUAL_WAIT_S)


@resource.serves(Route(path="/events/like", method="POST", body=LikeRequestSchema, answer=LikeAnswerSchema, rule=USERS))
def record_like(body: dict[str, Any]) -> dict[str, Any]:
    """Record a like; it is durable before the answer, and taken also while the queues are full."""
    return application().studio.record_like(body)


@resource.serves(Route(path="/like_event", method="POST", body=LikeRequestSchema, answer=LikeAnswerSchema, rule=USERS))
def record_like_event(body: dict[str, Any]) -> dict[str, Any]:
    """Record a like, under its older name."""
    return application().studio.record_like(body)


@resource.serves(
    Route(
        path="/trigger_retrain",
        method="POST",
        body=RetrainRequestSchema,
        answer=RetrainAnswerSchema,
        keeps_key=True,
        problems=(409,),
        rule=USERS,
    )
)
def trigger_retrain(body: dict[str, Any]) -> Response:
    """Start a learning cycle in the background, however many likes there are; 409 while one runs."""
    options, studio = _read_options(body), application().studio
    if options.dry_run:
        return answer_estimate(studio.plan_learning_cycle())
    return start_and_go_on(partial(_trigger, _start_options(options)))


@resource.serves(
    Route(
        path="/reset_counter",
        method="POST",
        body=IgnoredBodySchema,
        answer=ResetAnswerSchema,
        rule=Rule(scope=Scope.ADMIN, tolerant=True),
    )
)
def reset_counter(body: dict[str, Any]) -> dict[str, Any]:
    """Set the counter of likes to 0; the likes stay known."""
    del body
    return application().studio.reset_counter()


@resource.serves(Route(path="/status", answer=StatusSchema, rule=USERS))
def get_status() -> dict[str, Any]:
    """Show the studio's counters, times and last results."""
    return application().studio.status()


@resource.serves(Route(path="/scores", answer=ScoresSchema, rule=USERS))
def get_scores() -> dict[str, Any]:
    """Show the scores that serve."""
    return application().studio.scores()


@resource.serves(Route(path="/structures", answer=StructureSchema, many=True, query=PageQuerySchema, paged=True))
def list_structures(query: dict[str, Any]) -> Paged:
    """List structures, newest first."""
    return _paged(application().studio.list_structures(**query), query)


@resource.serves(
    Route(path="/structures", method="POST", body=StructuresRequestSchema, answer=StructureSchema, many=True)
)
def add_structures(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Store structures, all or none; one whose id is known is written over."""
    return application().studio.add_structures(body["structures"])


@resource.serves(Route(path="/structures/sync", method="POST", body=NoBodySchema, answer=SyncedSchema))
def sync_structures(body: dict[str, Any]) -> dict[str, Any]:
    """Take over Airtable's structures now."""
    del body
    return application().studio.sync_structures()


@resource.serves(Route(path="/structures/<structure_id>", answer=ScoredStructureSchema))
def get_structure(structure_id: str) -> dict[str, Any]:
    """Show a structure by its own or its record's id: its score, why, and how that changed."""
    return application().studio.get_structure(structure_id)


@resource.serves(Route(path="/prompts", answer=PromptSchema, many=True, query=PageQuerySchema, paged=True))
def list_prompts(query: dict[str, Any]) -> Paged:
    """List prompts, newest first."""
    return _paged(application().studio.list_prompts(**query), query)


@resource.serves(Route(path="/batches", answer=BatchSchema, many=True, query=PageQuerySchema, paged=True))
def list_batches(query: dict[str, Any]) -> Paged:
    """List batches, newest first."""
    return _paged(application().studio.list_batches(**query), query)


@resource.serves(Route(path="/ideas", answer=IdeaSchema, many=True, query=IdeasQuerySchema, paged=True))
def list_ideas(query: dict[str, Any]) -> Paged:
    """List ideas, newest first."""
    return _paged(application().studio.list_ideas(**query), query)


@resource.serves(Route(path="/ideas/<idea_id>/approve", method="POST", body=NoBodySchema, answer=IdeaSchema))
def approve_idea(idea_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Approve an idea: it becomes a structure."""
    del body
    return application().studio.decide_idea(idea_id, "approved")


@resource.serves(Route(path="/ideas/<idea_id>/decline", method="POST", body=NoBodySchema, answer=IdeaSchema))
def decline_idea(idea_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Decline an idea."""
    del body
    return application().studio.decide_idea(idea_id, "declined")


def _start(start: StartBatch, asked: Asked, options: RunOptions, connection: Connection | None) -> Begun:
    batch = start(asked, _start_options(options), connection)
    return Begun(batch.started, publishes=not batch.joined, extra={"joined": True} if batch.joined else {})


def _trigger(options: StartOptions, connection: Connection | None) -> Begun:
    started = application().studio.trigger_retrain(options, connection)
    said = {"status": "triggered", "message": "Learning cycle started in background", "task_id": started.run_id}
    return Begun(started, extra=said)


def _start_options(options: RunOptions) -> StartOptions:
    return StartOptions(identity().owner, options.priority, options.max_cost_usd, options.callback_url)


def _read_options(body: dict[str, Any]) -> RunOptions:
    return read_options(body, application().settings.engine.callback_allowed_hosts)


def _read_asked(body: dict[str, Any]) -> Asked:
    return Asked(body["force_retrain"], body.get("num_ideas"), body.get("num_prompts"), body.get("renderer"))


def _paged(listing: Listing, query: dict[str, Any]) -> Paged:
    return list(listing.items), page_headers(listing.total, query["page"], query["page_size"])
