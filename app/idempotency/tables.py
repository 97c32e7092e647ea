"""The table of idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, UUID

from app.database import metadata

Instant = TIMESTAMP(timezone=True)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("route", sa.Text, primary_key=True, comment="method and path"),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body_hash", sa.Text, nullable=False),
    sa.Column("claim_id", UUID(as_uuid=False), nullable=False),
    sa.Column("claimed_at", Instant, nullable=False),
    # No foreign key: a run may be cleared away before a key that names it, and is then simply not found.
    sa.Column("run_id", UUID(as_uuid=False)),
    sa.Column("status", sa.Integer, comment="of an answer without a run"),
    sa.Column("response", JSONB(none_as_null=True)),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Index("ix_idempotency_expires_at", "expires_at"),
    sa.Index("ix_idempotency_run_id", "run_id", postgresql_where=sa.text("run_id is not null")),
)
