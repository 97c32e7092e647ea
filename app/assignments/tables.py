"""Persons, their history, the learnt weights and the counter of feedback."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from app.assignments.model import MAX_NAME_CHARS, MAX_ROLE_CHARS
from app.database import metadata

TIME = sa.TIMESTAMP(timezone=True)
NOW = sa.func.clock_timestamp()
WEIGHT_NAME_CHARS = MAX_ROLE_CHARS + 40  # a role's name behind its prefix


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, JSONB, nullable=False, server_default=sa.text("'{}'::jsonb"))


persons = sa.Table(
    "persons",
    metadata,
    sa.Column("person_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("nombre", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("genero", sa.String(1), nullable=False),
    _flag("es_siervo"),
    _flag("can_president"),
    _flag("can_pray"),
    _flag("can_conduct"),
    _flag("can_read"),
    _json("metadata"),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
    sa.CheckConstraint("genero in ('M', 'F')", name="genero"),
)

assignment_history = sa.Table(
    "assignment_history",
    metadata,
    sa.Column("history_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("person_id", sa.BigInteger, sa.ForeignKey("persons.person_id"), nullable=False),
    sa.Column("role", sa.String(MAX_ROLE_CHARS), nullable=False),
    sa.Column("week_date", sa.Date, nullable=False),
    # A meeting's rows say who was given what (`duty`); feedback's say what came of it (`result`).
    sa.Column("duty", sa.String(10)),
    sa.Column("result", sa.String(10)),
    sa.Column("alternative_id", sa.BigInteger, sa.ForeignKey("persons.person_id")),
    # What was known of the person, and of the alternative, when the feedback came: what a training may see.
    _json("known"),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.CheckConstraint("(duty is null) <> (result is null)", name="kind"),
    sa.CheckConstraint("duty in ('lead', 'assistant')", name="duty"),
    sa.CheckConstraint("result in ('aceptada', 'rechazada', 'corrigida')", name="result"),
    sa.Index("ix_assignment_history_judged", "person_id", "role", postgresql_where=sa.text("result is not null")),
    sa.Index(
        "ix_assignment_history_alternative",
        "alternative_id",
        "role",
        postgresql_where=sa.text("alternative_id is not null"),
    ),
    sa.Index("ix_assignment_history_duties", "person_id", "week_date", postgresql_where=sa.text("duty is not null")),
    sa.Index("ix_assignment_history_weeks", "week_date", postgresql_where=sa.text("duty is not null")),
)

assignment_weights = sa.Table(
    "assignment_weights",
    metadata,
    sa.Column("name", sa.String(WEIGHT_NAME_CHARS), primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
)

assignment_state = sa.Table(
    "assignment_state",
    metadata,
    sa.Column("only", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("feedback_since_last_retrain", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_retrain_at", TIME),
    # The newest training's run; no foreign key, since runs are deleted when they are old.
    sa.Column("training_run_id", UUID(as_uuid=False)),
    sa.Column("training_asked_at", TIME),
    sa.CheckConstraint('"only"', name="only"),
)
