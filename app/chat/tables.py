"""Tables of chat: sessions, their messages, and what became of each message that was sent."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

from app.database import metadata

Instant = TIMESTAMP(timezone=True)
Dollars = sa.Numeric(16, 6)
NOW = sa.text("clock_timestamp()")

chat_sessions = sa.Table(
    "chat_sessions",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("positions", sa.Integer, nullable=False, server_default="0", comment="given out so far"),
    sa.Column("summary", sa.Text, nullable=False, server_default="", comment="of the messages that are folded"),
    sa.Index("ix_chat_sessions_expires_at", "expires_at"),
)

chat_messages = sa.Table(
    "chat_messages",
    metadata,
    sa.Column("message_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("session_id", sa.Text, sa.ForeignKey("chat_sessions.session_id", ondelete="CASCADE"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    # No foreign key: runs go by retention, sessions by their own time.
    sa.Column("run_id", UUID(as_uuid=False), nullable=False),
    sa.Column("part", sa.SmallInteger, nullable=False, comment="of a run: 0 asked, 1 answered, 2 the result of a plan"),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("folded", sa.Boolean, nullable=False, server_default=sa.false(), comment="is in the summary"),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.CheckConstraint("role in ('user', 'assistant')", name="role"),
    sa.UniqueConstraint("run_id", "part"),
    sa.Index("ix_chat_messages_order", "session_id", "position", "part"),
)

chat_turns = sa.Table(
    "chat_turns",
    metadata,
    sa.Column("run_id", UUID(as_uuid=False), primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    # The receipt outlives the conversation; what was said goes with it.
    sa.Column("session_id", sa.Text, sa.ForeignKey("chat_sessions.session_id", ondelete="SET NULL")),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("asked", JSONB(none_as_null=True)),
    sa.Column("holdout", sa.Boolean, nullable=False),
    sa.Column("streams", sa.Boolean, nullable=False),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("answered_at", Instant),
    sa.Column("category", sa.Text),
    sa.Column("model", sa.Text, comment="that answered"),
    sa.Column("moved_from", sa.Text),
    sa.Column("sorted_by", sa.Text, comment="who said the category: model or local; null where its shape decided"),
    sa.Column("held_from", sa.Text, comment="where a held-out message would have gone"),
    sa.Column("reason", sa.Text),
    sa.Column("context_tokens", sa.Integer, nullable=False, server_default="0"),
    sa.Column("estimated_usd", Dollars),
    sa.Column("saved_usd", Dollars),
    sa.Column("cost_usd", Dollars),
    sa.Column("good", sa.Boolean),
    sa.Column("note", sa.Text),
    sa.Column("judged_at", Instant),
    sa.CheckConstraint("category in ('L', 'M', 'H')", name="category"),
    sa.CheckConstraint("(good is null) = (judged_at is null)", name="judged"),
    sa.Index("ix_chat_turns_session_id", "session_id"),
    sa.Index("ix_chat_turns_created_at", "created_at"),
    sa.Index("ix_chat_turns_judged_at", "judged_at", postgresql_where=sa.text("judged_at is not null")),
)
