"""The registry's table."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from app.database import metadata
from app.learning.model import MAX_FEATURE_SET, MAX_SCORER

TIME = sa.TIMESTAMP(timezone=True)
NOW = sa.func.clock_timestamp()
EMPTY = sa.text("'{}'::jsonb")
REASON_CHARS = 500

model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("number", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("scorer", sa.String(MAX_SCORER), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("artifact", sa.String(200), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("feature_set", sa.String(MAX_FEATURE_SET), nullable=False),
    sa.Column("card", JSONB, nullable=False, server_default=EMPTY),
    sa.Column("metrics", JSONB, nullable=False, server_default=EMPTY),
    sa.Column("reason", sa.String(REASON_CHARS), nullable=False, server_default=""),
    # No foreign key: versions outlive the runs that trained them.
    sa.Column("run_id", UUID(as_uuid=False)),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("promoted_at", TIME),
    sa.CheckConstraint("status in ('serving', 'retired', 'kept', 'withdrawn')", name="status"),
    # A training that is repeated after a crash finds what it made before.
    sa.UniqueConstraint("scorer", "run_id"),
    sa.Index("uq_model_versions_serving", "scorer", unique=True, postgresql_where=sa.text("status = 'serving'")),
    sa.Index(None, "scorer", "number"),
)

# Where the trainings stand that begin when enough new rows have come; one row a scorer.
learning_trainings = sa.Table(
    "learning_trainings",
    metadata,
    sa.Column("scorer", sa.String(MAX_SCORER), primary_key=True),
    # No foreign key: runs are deleted when they are old.
    sa.Column("run_id", UUID(as_uuid=False)),
    sa.Column("seen_until", TIME, comment="rows up to here started it; later ones count for the next"),
)
