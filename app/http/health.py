"""What the service is, and how it is."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import fields, validate

from app import __version__
from app.http.answers import answer_json
from app.http.application import application
from app.http.resource import Resource, Route, Rule
from app.http.schemas import AnswerSchema

resource = Resource("health", "What the service is, and how it is.")
OPEN = Rule(is_open=True, tolerant=True)
RETRY_AFTER_S = 5


class ServiceSchema(AnswerSchema):
    """What answers here."""

    service = fields.String(required=True)
    version = fields.String(required=True)
    status = fields.String(required=True)
    docs = fields.String(required=True)


class ChecksSchema(AnswerSchema):
    """What the service stands on."""

    database = fields.String(required=True)
    broker = fields.String(required=True)
    workers = fields.String(required=True)
    beat = fields.String(required=True)


class HealthSchema(AnswerSchema):
    """How the service is; the counts are missing while the database is away."""

    status = fields.String(required=True, validate=validate.OneOf(["healthy", "degraded"]))
    likes_since_last_retrain = fields.Integer()
    threshold = fields.Integer()
    is_retraining = fields.Boolean()
    total_batches = fields.Integer()
    total_generations = fields.Integer()
    models_available = fields.Integer()
    uptime = fields.Float(required=True, metadata={"description": "Seconds."})
    timestamp = fields.DateTime(required=True)
    version = fields.String(required=True)
    checks = fields.Nested(ChecksSchema, required=True)
    warnings = fields.List(fields.String(), required=True)


@resource.serves(Route(path="/", answer=ServiceSchema, rule=OPEN))
def get_service() -> dict[str, Any]:
    """Say what answers here."""
    return {"service": "batuta", "version": __version__, "status": "running", "docs": "/docs"}


@resource.serves(Route(path="/health", answer=HealthSchema, rule=OPEN, also={503: HealthSchema}))
def get_health() -> Response:
    """Say how the service is; 503 while the database or the broker is away."""
    report = application().health.report()
    if report.serving:
        return answer_json(report.to_json())
    return answer_json(report.to_json(), 503, {"Retry-After": str(RETRY_AFTER_S)})
