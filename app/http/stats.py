"""How the system is used: for people at `/stats`, for Prometheus at `/metrics`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from flask import Response
from marshmallow import fields
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from app.http.answers import dollars
from app.http.application import application
from app.http.resource import Resource, Route, Rule
from app.http.schemas import AnswerSchema
from app.http.traffic import traffic
from app.telemetry.metrics import SystemCollector

if TYPE_CHECKING:
    from app.usage.model import Costs, ModelUsage

SAVINGS_OF = dt.timedelta(days=30)

resource = Resource("stats", "How the system is used, and what it costs.")


class RequestCountsSchema(AnswerSchema):
    """Requests to the web process that answers."""

    per_minute = fields.Integer(required=True, metadata={"description": "In the last minute."})
    by_status = fields.Dict(required=True, metadata={"description": "Status to count, since the process began."})


class ModelUsageSchema(AnswerSchema):
    """How a model did in the last 24 hours."""

    calls = fields.Integer(required=True)
    errors = fields.Integer(required=True)
    error_rate = fields.Float(required=True)
    p50_s = fields.Float(required=True, allow_none=True)
    p95_s = fields.Float(required=True, allow_none=True)
    tokens = fields.Integer(required=True)
    dollars = fields.Float(required=True)
    cache_hit_rate = fields.Float(
        required=True, metadata={"description": "Share of input tokens read from vendors' caches."}
    )


class CostsSchema(AnswerSchema):
    """Dollars; days begin at midnight UTC."""

    today = fields.Float(required=True)
    last_7_days = fields.Float(required=True)
    average_per_video = fields.Float(required=True, allow_none=True)


class LossSchema(AnswerSchema):
    """How much rarer good answers are than the strong model's to messages of the same kind."""

    judged = fields.Integer(required=True, metadata={"description": "Judged answers of cheaper models."})
    judged_held_out = fields.Integer(required=True, metadata={"description": "Judged answers of the strong model."})
    mean = fields.Float(required=True, allow_none=True, metadata={"description": "null: too few to tell."})
    low = fields.Float(required=True, allow_none=True, metadata={"description": "Lower bound, 95 %."})
    high = fields.Float(required=True, allow_none=True, metadata={"description": "Upper bound, 95 %."})
    note = fields.String(required=True)


class SavingsSchema(AnswerSchema):
    """What routing saved on chats that one model answers."""

    since = fields.String(required=True)
    requests = fields.Integer(required=True)
    moved = fields.Integer(required=True, metadata={"description": "Moved down by the learned scorer."})
    moved_share = fields.Float(required=True)
    held_out = fields.Integer(required=True, metadata={"description": "Sent to thinking_ai all the same."})
    dollars_spent = fields.Float(required=True)
    dollars_always_thinking = fields.Float(required=True)
    dollars_saved = fields.Float(required=True)
    loss = fields.Nested(LossSchema, required=True)
    loss_of_moved = fields.Nested(LossSchema, required=True)


class StatsSchema(AnswerSchema):
    """How the system is used."""

    active_sessions = fields.Integer(required=True)
    total_messages = fields.Integer(required=True)
    uptime_seconds = fields.Float(required=True)
    timestamp = fields.DateTime(required=True)
    requests = fields.Nested(RequestCountsSchema, required=True)
    models = fields.Dict(keys=fields.String(), values=fields.Nested(ModelUsageSchema), required=True)
    queues = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    circuits = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "Provider to the worst state of its breakers: closed, half_open or open."},
    )
    runs = fields.Dict(
        required=True, metadata={"description": "by_status: status to count, of the runs that are kept."}
    )
    costs = fields.Nested(CostsSchema, required=True)
    savings = fields.Nested(SavingsSchema, required=True)


@resource.serves(Route(path="/stats", answer=StatsSchema, rule=Rule(tolerant=True)))
def get_stats() -> dict[str, Any]:
    """Say how the system is used."""
    app = application()
    sessions, messages = app.chat.count()
    return {
        "active_sessions": sessions,
        "total_messages": messages,
        "uptime_seconds": round(traffic().uptime_s, 3),
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "requests": {"per_minute": traffic().per_minute(), "by_status": traffic().by_status()},
        "models": {name: _show_usage(usage) for name, usage in sorted(app.usage.models().items())},
        "queues": app.depths.depths(),
        "circuits": app.circuits(),
        "runs": {"by_status": app.usage.runs_by_status()},
        "costs": _show_costs(app.usage.costs()),
        "savings": app.chat_lessons.savings(dt.datetime.now(dt.UTC) - SAVINGS_OF).to_json(),
    }


@resource.serves(Route(path="/metrics", media="text/plain", rule=Rule(on_loopback=True)))
def get_metrics() -> Response:
    """Give metrics to Prometheus: what all processes do together, and this one's requests."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SystemCollector(application().metric_sources))
    text = generate_latest(registry) + generate_latest(traffic().registry)
    return Response(text, content_type=CONTENT_TYPE_LATEST)


def _show_usage(usage: ModelUsage) -> dict[str, Any]:
    return {
        "calls": usage.calls,
        "errors": usage.errors,
        "error_rate": round(usage.error_rate, 6),
        "p50_s": _seconds(usage.p50_s),
        "p95_s": _seconds(usage.p95_s),
        "tokens": usage.tokens,
        "dollars": dollars(usage.cost_usd),
        "cache_hit_rate": round(usage.cache_hit_rate, 6),
    }


def _show_costs(costs: Costs) -> dict[str, Any]:
    return {
        "today": dollars(costs.today_usd),
        "last_7_days": dollars(costs.last_7_days_usd),
        "average_per_video": dollars(costs.average_per_video_usd),
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
