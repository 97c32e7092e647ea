"""Workflows: documents of the callers' own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response

from app.errors import NotConfiguredError
from app.http.answers import answer_json
from app.http.application import application, identity
from app.http.options import RunOptions, read_options
from app.http.resource import Resource, Route, Rule
from app.http.starting import Begun, start_and_answer
from app.http.workflow_schemas import WorkflowAnswerSchema, WorkflowRequestSchema
from app.runs.model import RunRequest
from app.workflows.grammar import parse_workflow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from app.workflows.model import Workflow

resource = Resource("workflows", "Documents that describe work: blocks of steps.")
WAIT_S = 90.0
KIND = "workflow"
RETRY_AFTER_S = 300


@resource.serves(
    Route(
        path="/workflow",
        method="POST",
        body=WorkflowRequestSchema,
        answer=WorkflowAnswerSchema,
        starts_run=True,
        rule=Rule(tolerant=True),
    )
)
def run_workflow(body: dict[str, Any]) -> Response:
    """Run a document. Everything wrong with it is said at once, by place, before anything is stored."""
    app = application()
    options = read_options(body, app.settings.engine.callback_allowed_hosts)
    workflow = parse_workflow(body["workflow"], body["variables"], catalog=app.catalog)
    if options.dry_run:
        return answer_estimate(workflow)
    missing = app.missing_settings(workflow)
    if missing:
        raise NotConfiguredError(
            f"A model step needs a provider: set {' or '.join(missing)}.",
            retry_after_s=RETRY_AFTER_S,
            setting=missing[0],
        )
    return start_and_answer(partial(_start, workflow, options), WAIT_S)


def answer_estimate(workflow: Workflow) -> Response:
    """Answer a dry run: what the document would cost and take, and what is missing for it to run."""
    app = application()
    missing = list(app.missing_settings(workflow))
    return answer_json({"dry_run": True, **app.estimate(workflow).to_json(), "missing": missing})


def _start(workflow: Workflow, options: RunOptions, connection: Connection | None) -> Begun:
    request = RunRequest(
        kind=KIND,
        workflow=workflow,
        owner=identity().owner,
        priority=options.priority,
        max_cost_usd=options.max_cost_usd,
        callback_url=options.callback_url,
    )
    return Begun(application().runs.start_run(request, connection))
