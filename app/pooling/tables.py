"""Tables of pooling: questions that wait to be asked together, and the vendors' batches they went into."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

from app.database import metadata

Instant = TIMESTAMP(timezone=True)
NOW = sa.text("clock_timestamp()")

vendor_batches = sa.Table(
    "vendor_batches",
    metadata,
    sa.Column("batch_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, comment="the vendor's id"),
    sa.Column("mark", sa.Text, nullable=False, unique=True),
    sa.Column("status", sa.Text, nullable=False, server_default="new", comment="new submitted ended"),
    sa.Column("vendor_id", sa.Text),
    sa.Column("live_at", Instant, nullable=False, comment="when the first of its questions must be asked live"),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("submitted_at", Instant),
    sa.Column("cancel_asked_at", Instant),
    sa.Column("ended_at", Instant),
    sa.Column("due_at", Instant, nullable=False, server_default=NOW),
    # The process that looks at it just now; if its lease ends, another goes on.
    sa.Column("owner", UUID(as_uuid=False)),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0", comment="of handing it in"),
    sa.Column("last_error", sa.Text),
    sa.Index("ix_vendor_batches_due", "due_at", postgresql_where=sa.text("status <> 'ended'")),
)

pooled_calls = sa.Table(
    "pooled_calls",
    metadata,
    sa.Column("item_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run_id", UUID(as_uuid=False), nullable=False),
    sa.Column("step_key", sa.Text, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, comment="the vendor's id"),
    sa.Column("batch_id", sa.BigInteger, sa.ForeignKey("vendor_batches.batch_id", ondelete="CASCADE")),
    sa.Column("pooled_at", Instant, nullable=False, server_default=NOW),
    sa.Column("live_at", Instant, nullable=False),
    sa.UniqueConstraint("run_id", "step_key", "ordinal"),
    sa.Index("ix_pooled_calls_waiting", "provider", "model", postgresql_where=sa.text("batch_id is null")),
    sa.Index("ix_pooled_calls_batch_id", "batch_id"),
)
