"""Persons, the history of their assignments, learnt weights and the counter of feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
TIME = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "persons",
        sa.Column("person_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("nombre", sa.String(length=200), nullable=False),
        sa.Column("genero", sa.String(length=1), nullable=False),
        sa.Column("es_siervo", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("can_president", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("can_pray", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("can_conduct", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("can_read", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.CheckConstraint("genero in ('M', 'F')", name=op.f("ck_persons_genero")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_persons")),
    )
    op.create_table(
        "assignment_history",
        sa.Column("history_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(length=100), nullable=False),
        sa.Column("week_date", sa.Date(), nullable=False),
        sa.Column("duty", sa.String(length=10), nullable=True),
        sa.Column("result", sa.String(length=10), nullable=True),
        sa.Column("alternative_id", sa.BigInteger(), nullable=True),
        sa.Column("known", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
        sa.CheckConstraint("(duty is null) <> (result is null)", name=op.f("ck_assignment_history_kind")),
        sa.CheckConstraint("duty in ('lead', 'assistant')", name=op.f("ck_assignment_history_duty")),
        sa.CheckConstraint(
            "result in ('aceptada', 'rechazada', 'corrigida')", name=op.f("ck_assignment_history_result")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["persons.person_id"], name=op.f("fk_assignment_history_person_id_persons")
        ),
        sa.ForeignKeyConstraint(
            ["alternative_id"], ["persons.person_id"], name=op.f("fk_assignment_history_alternative_id_persons")
        ),
        sa.PrimaryKeyConstraint("history_id", name=op.f("pk_assignment_history")),
    )
    for name, columns, condition in (
        ("judged", ["person_id", "role"], "result is not null"),
        ("alternative", ["alternative_id", "role"], "alternative_id is not null"),
        ("duties", ["person_id", "week_date"], "duty is not null"),
        ("weeks", ["week_date"], "duty is not null"),
    ):
        op.create_index(
            f"ix_assignment_history_{name}", "assignment_history", columns, postgresql_where=sa.text(condition)
        )
    op.create_table(
        "assignment_weights",
        sa.Column("name", sa.String(length=140), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_assignment_weights")),
    )
    op.create_table(
        "assignment_state",
        sa.Column("only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("feedback_since_last_retrain", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_retrain_at", TIME, nullable=True),
        sa.CheckConstraint('"only"', name=op.f("ck_assignment_state_only")),
        sa.PrimaryKeyConstraint("only", name=op.f("pk_assignment_state")),
    )


def downgrade() -> None:
    """Take the change back."""
    for table in ("assignment_state", "assignment_weights", "assignment_history", "persons"):
        op.drop_table(table)
