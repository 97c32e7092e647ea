"""The assets' tables."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TIMESTAMP

from app.database import metadata

Instant = TIMESTAMP(timezone=True)
NOW = sa.text("clock_timestamp()")

assets = sa.Table(
    "assets",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("seconds", sa.Numeric(10, 3)),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("fallen_at", Instant, comment="when nothing referred to it any more; its file goes a day later"),
    sa.Index("ix_assets_fallen_at", "fallen_at", postgresql_where=sa.text("fallen_at is not null")),
)

asset_uses = sa.Table(
    "asset_uses",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, primary_key=True, comment="what refers to it, such as run:<id>"),
    sa.ForeignKeyConstraint(["hash", "owner"], ["assets.hash", "assets.owner"], ondelete="CASCADE"),
    sa.Index("ix_asset_uses_holder", "holder"),
)
