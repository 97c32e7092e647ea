"""Workflows: documents of the callers' own, and templates that only need variables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response

from app.errors import NotConfiguredError
from app.gateway.service import utc_today
from app.http.answers import answer_json
from app.http.application import application, identity
from app.http.options import RunOptions, read_options
from app.http.resource import Resource, Route, Rule
from app.http.starting import Begun, start_and_answer
from app.http.workflow_schemas import (
    TemplateAnswerSchema,
    TemplateOptionsSchema,
    TemplateVariablesSchema,
    WorkflowAnswerSchema,
    WorkflowRequestSchema,
)
from app.runs.model import RunRequest
from app.runs.model_steps import MADE_KINDS
from app.workflows.grammar import parse_workflow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from app.workflows.model import Workflow

resource = Resource("workflows", "Documents that describe work: blocks of steps.")
WAIT_S = 90.0
KIND = "workflow"
TEMPLATE_KIND = "template"
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
    return _run(KIND, workflow, options, {})


@resource.serves(
    Route(
        path="/template/<name>",
        method="POST",
        query=TemplateOptionsSchema,
        body=TemplateVariablesSchema,
        answer=TemplateAnswerSchema,
        starts_run=True,
        rule=Rule(tolerant=True),
    )
)
def run_template(name: str, query: dict[str, Any], body: dict[str, Any]) -> Response:
    """Run a template with the body as its variables; what this installation cannot make is left out, and said."""
    app = application()
    template = app.templates.find(name)
    options = read_options(query, app.settings.engine.callback_allowed_hosts)
    filled = template.fill(body, serves=_is_made)
    workflow = parse_workflow(filled.document, filled.variables, catalog=app.catalog)
    degraded = list(filled.degraded)
    if options.dry_run:
        return answer_estimate(workflow, degraded=degraded)
    return _run(TEMPLATE_KIND, workflow, options, {"template": name, "degraded": degraded})


def answer_estimate(workflow: Workflow, **more: Any) -> Response:
    """Answer a dry run: what the document would cost and take, and what is missing for it to run."""
    app = application()
    missing = list(app.missing_settings(workflow))
    return answer_json({"dry_run": True, **app.estimate(workflow).to_json(), "missing": missing, **more})


def _is_made(model: str) -> bool:
    """Tell whether a model is there, and makes something that a step can do here."""
    app = application()
    if app.registry.find(model).kind not in MADE_KINDS:
        return False
    return bool(app.registry.route(model, app.providers, utc_today()).targets)


def _run(kind: str, workflow: Workflow, options: RunOptions, subject: dict[str, Any]) -> Response:
    missing = application().missing_settings(workflow)
    if missing:
        raise NotConfiguredError(
            f"A model step needs a provider: set {' or '.join(missing)}.",
            retry_after_s=RETRY_AFTER_S,
            setting=missing[0],
        )
    request = RunRequest(
        kind=kind,
        workflow=workflow,
        owner=identity().owner,
        priority=options.priority,
        max_cost_usd=options.max_cost_usd,
        callback_url=options.callback_url,
        subject=subject,
    )
    return start_and_answer(partial(_start, request), WAIT_S)


def _start(request: RunRequest, connection: Connection | None) -> Begun:
    return Begun(application().runs.start_run(request, connection))
