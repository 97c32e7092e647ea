"""Chat: sessions, their messages, and what became of each message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "chat_sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=NOW, nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("positions", sa.Integer(), server_default="0", nullable=False, comment="given out so far"),
        sa.Column("summary", sa.Text(), server_default="", nullable=False, comment="of the messages that are folded"),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_chat_sessions")),
    )
    op.create_index("ix_chat_sessions_expires_at", "chat_sessions", ["expires_at"], unique=False)
    _create_messages()
    _create_turns()


def _create_messages() -> None:
    op.create_table(
        "chat_messages",
        sa.Column("message_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column(
            "part",
            sa.SmallInteger(),
            nullable=False,
            comment="of a run: 0 asked, 1 answered, 2 the result of a plan",
        ),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("folded", sa.Boolean(), server_default=sa.false(), nullable=False, comment="is in the summary"),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("role in ('user', 'assistant')", name=op.f("ck_chat_messages_role")),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["chat_sessions.session_id"],
            name=op.f("fk_chat_messages_session_id_chat_sessions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_chat_messages")),
        sa.UniqueConstraint("run_id", "part", name=op.f("uq_chat_messages_run_id_part")),
    )
    op.create_index("ix_chat_messages_order", "chat_messages", ["session_id", "position", "part"], unique=False)


def _create_turns() -> None:
    op.create_table(
        "chat_turns",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("asked", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("holdout", sa.Boolean(), nullable=False),
        sa.Column("streams", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), server_default=NOW, nullable=False),
        sa.Column("answered_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True, comment="that answered"),
        sa.Column("moved_from", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("context_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("estimated_usd", sa.Numeric(precision=16, scale=6), nullable=True),
        sa.Column("saved_usd", sa.Numeric(precision=16, scale=6), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=16, scale=6), nullable=True),
        sa.Column("good", sa.Boolean(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("judged_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("category in ('L', 'M', 'H')", name=op.f("ck_chat_turns_category")),
        sa.CheckConstraint("(good is null) = (judged_at is null)", name=op.f("ck_chat_turns_judged")),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["chat_sessions.session_id"],
            name=op.f("fk_chat_turns_session_id_chat_sessions"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_chat_turns")),
    )
    op.create_index("ix_chat_turns_session_id", "chat_turns", ["session_id"], unique=False)
    op.create_index("ix_chat_turns_created_at", "chat_turns", ["created_at"], unique=False)
    op.create_index(
        "ix_chat_turns_judged_at",
        "chat_turns",
        ["judged_at"],
        unique=False,
        postgresql_where=sa.text("judged_at is not null"),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("chat_turns")
    op.drop_table("chat_messages")
    op.drop_table("chat_sessions")
