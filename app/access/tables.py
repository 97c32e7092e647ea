"""The table of tokens."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

from app.database import metadata

Instant = TIMESTAMP(timezone=True)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("token_id", UUID(as_uuid=False), primary_key=True, server_default=sa.text("gen_random_uuid()")),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, sa.CheckConstraint("scope in ('client', 'admin')", name="scope"), nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True, comment="sha256 of the secret, hex"),
    sa.Column("created_at", Instant, nullable=False, server_default=sa.text("clock_timestamp()")),
    sa.Column("expires_at", Instant),
    sa.Column("last_used_at", Instant),
    sa.Column("revoked_at", Instant),
)
