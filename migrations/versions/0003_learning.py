"""Learning cycles, the likes they take, and versions of what was learned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
EMPTY = sa.text("'{}'::jsonb")


def upgrade() -> None:
    """Apply the change."""
    _create_cycles()
    _create_versions()
    op.add_column("likes", sa.Column("cycle_run_id", sa.UUID(as_uuid=False), nullable=True))
    op.add_column("likes", sa.Column("consumed_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("likes", sa.Column("counted", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.create_index(
        "ix_likes_free", "likes", ["like_id"], unique=False, postgresql_where=sa.text("cycle_run_id is null")
    )
    op.create_index("ix_likes_cycle_run_id", "likes", ["cycle_run_id"], unique=False)
    op.add_column(
        "studio_state",
        sa.Column("cached_doubts", postgresql.JSONB(astext_type=sa.Text()), server_default=EMPTY, nullable=False),
    )


def _create_cycles() -> None:
    op.create_table(
        "learning_cycles",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("parent_run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("trigger", sa.String(length=40), nullable=False),
        sa.Column("likes_taken", sa.Integer(), nullable=False),
        sa.Column("likes_counted", sa.Integer(), nullable=False),
        sa.Column("likes_imported", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.String(length=40), server_default="running", nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), server_default=NOW, nullable=False),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('running', 'trained', 'kept_previous', 'skipped', 'failed', 'cancelled')",
            name=op.f("ck_learning_cycles_status"),
        ),
        sa.CheckConstraint("(status = 'running') = (ended_at is null)", name=op.f("ck_learning_cycles_ended")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_learning_cycles")),
    )
    op.create_index(
        "uq_learning_cycles_running",
        "learning_cycles",
        [sa.literal_column("(true)")],
        unique=True,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index(op.f("ix_learning_cycles_parent_run_id"), "learning_cycles", ["parent_run_id"], unique=False)
    op.create_index(op.f("ix_learning_cycles_started_at"), "learning_cycles", ["started_at"], unique=False)


def _create_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scorer", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("artifact", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("feature_set", sa.String(length=100), nullable=False),
        sa.Column("card", postgresql.JSONB(astext_type=sa.Text()), server_default=EMPTY, nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=EMPTY, nullable=False),
        sa.Column("reason", sa.String(length=500), server_default="", nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=NOW, nullable=False),
        sa.Column("promoted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('serving', 'retired', 'kept', 'withdrawn')", name=op.f("ck_model_versions_status")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("scorer", "run_id", name=op.f("uq_model_versions_scorer_run_id")),
    )
    op.create_index(
        "uq_model_versions_serving",
        "model_versions",
        ["scorer"],
        unique=True,
        postgresql_where=sa.text("status = 'serving'"),
    )
    op.create_index(
        op.f("ix_model_versions_scorer_model_versions_number"), "model_versions", ["scorer", "number"], unique=False
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("studio_state", "cached_doubts")
    op.drop_index("ix_likes_cycle_run_id", table_name="likes")
    op.drop_index("ix_likes_free", table_name="likes", postgresql_where=sa.text("cycle_run_id is null"))
    for column in ("counted", "consumed_at", "cycle_run_id"):
        op.drop_column("likes", column)
    op.drop_table("model_versions")
    op.drop_table("learning_cycles")
