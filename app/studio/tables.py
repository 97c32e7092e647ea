"""The studio's tables. Texts are bounded here as well as in the model, so that no door can let a flood through."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from app.database import metadata
from app.studio.model import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_PROMPT_CHARS,
    MAX_RENDERER_CHARS,
    MAX_SKELETON_CHARS,
    MAX_URL_CHARS,
)

FINGERPRINT_CHARS = 64  # SHA-256 in hex
STATUS_CHARS = 40
KEY_CHARS = 200  # a step's key, with the number of its item
MESSAGE_CHARS = 500

TIME = sa.TIMESTAMP(timezone=True)
NOW = sa.func.clock_timestamp()


def _created() -> sa.Column[object]:
    return sa.Column("created_at", TIME, nullable=False, server_default=NOW)


def _json(name: str, default: str) -> sa.Column[object]:
    return sa.Column(name, JSONB, nullable=False, server_default=sa.text(f"'{default}'::jsonb"))


structures = sa.Table(
    "structures",
    metadata,
    sa.Column("structure_id", sa.String(MAX_ID_CHARS), primary_key=True),
    sa.Column("record_id", sa.String(MAX_ID_CHARS), unique=True),
    sa.Column("skeleton", sa.String(MAX_SKELETON_CHARS), nullable=False),
    sa.Column("renderer", sa.String(MAX_RENDERER_CHARS), nullable=False, server_default=""),
    _json("attributes", "{}"),
    _json("statistics", "{}"),
    sa.Column("status", sa.String(STATUS_CHARS), nullable=False, server_default="active"),
    sa.Column("source", sa.String(STATUS_CHARS), nullable=False),
    sa.Column("parent", sa.String(MAX_ID_CHARS)),
    sa.Column("fingerprint", sa.String(FINGERPRINT_CHARS), nullable=False, index=True),
    _created(),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
)

designers = sa.Table(
    "designers",
    metadata,
    sa.Column("designer_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("record_id", sa.String(MAX_ID_CHARS), nullable=False, unique=True),
    sa.Column("name", sa.String(MAX_NAME_CHARS), nullable=False),
)

garments = sa.Table(
    "garments",
    metadata,
    sa.Column("garment_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("record_id", sa.String(MAX_ID_CHARS), nullable=False, unique=True),
    sa.Column("name", sa.String(MAX_NAME_CHARS), nullable=False),
)

ideas = sa.Table(
    "ideas",
    metadata,
    sa.Column("idea_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("run_id", UUID(as_uuid=False), nullable=False),
    sa.Column("step_key", sa.String(KEY_CHARS), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("external_id", sa.String(MAX_ID_CHARS)),
    sa.Column("skeleton", sa.String(MAX_SKELETON_CHARS), nullable=False),
    sa.Column("renderer", sa.String(MAX_RENDERER_CHARS), nullable=False, server_default=""),
    _json("attributes", "{}"),
    sa.Column("status", sa.String(STATUS_CHARS), nullable=False, server_default="proposed"),
    sa.Column("parent", sa.String(MAX_ID_CHARS)),
    sa.Column("source", sa.String(STATUS_CHARS), nullable=False),
    sa.Column("fingerprint", sa.String(FINGERPRINT_CHARS), nullable=False, index=True),
    sa.Column("structure_id", sa.String(MAX_ID_CHARS)),
    _created(),
    sa.Column("decided_at", TIME),
    sa.UniqueConstraint("run_id", "step_key", "place"),
    sa.CheckConstraint("status in ('proposed', 'approved', 'declined')", name="status"),
    sa.Index(None, "created_at"),
)

prompts = sa.Table(
    "prompts",
    metadata,
    sa.Column("prompt_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("run_id", UUID(as_uuid=False), nullable=False),
    sa.Column("step_key", sa.String(KEY_CHARS), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("text", sa.String(MAX_PROMPT_CHARS), nullable=False),
    sa.Column("renderer", sa.String(MAX_RENDERER_CHARS), nullable=False, server_default=""),
    sa.Column("structure_id", sa.String(MAX_ID_CHARS), index=True),
    sa.Column("structure_record_id", sa.String(MAX_ID_CHARS)),
    sa.Column("designer", sa.String(MAX_NAME_CHARS)),
    sa.Column("designer_record_id", sa.String(MAX_ID_CHARS)),
    sa.Column("garment", sa.String(MAX_NAME_CHARS)),
    sa.Column("garment_record_id", sa.String(MAX_ID_CHARS)),
    sa.Column("explored", sa.Boolean, nullable=False, server_default=sa.false()),
    # Probability with which this structure was drawn: what an off-policy estimate divides by.
    sa.Column("propensity", sa.Double),
    sa.Column("source", sa.String(STATUS_CHARS), nullable=False),
    sa.Column("fingerprint", sa.String(FINGERPRINT_CHARS), nullable=False),
    # `sent_at` without `record_id`: a request was begun and its answer is not known, so look before sending again.
    sa.Column("sent_at", TIME),
    sa.Column("record_id", sa.String(MAX_ID_CHARS), unique=True),
    sa.Column("history_sent_at", TIME),
    sa.Column("history_record_id", sa.String(MAX_ID_CHARS)),
    sa.Column("write_error", sa.String(MESSAGE_CHARS)),
    _created(),
    sa.UniqueConstraint("run_id", "fingerprint"),
    sa.Index(None, "created_at"),
)

# What was made lately, so that it is not made again: a claim on a text, renewed when it is old enough.
fingerprints = sa.Table(
    "studio_fingerprints",
    metadata,
    sa.Column("kind", sa.String(STATUS_CHARS), primary_key=True),
    sa.Column("fingerprint", sa.String(FINGERPRINT_CHARS), primary_key=True),
    sa.Column("used_at", TIME, nullable=False, server_default=NOW, index=True),
    sa.CheckConstraint("kind in ('prompt', 'idea')", name="kind"),
)

# What a step has already done to the outside world, for the try that comes after a crash.
marks = sa.Table(
    "studio_marks",
    metadata,
    sa.Column("run_id", UUID(as_uuid=False), primary_key=True),
    sa.Column("step_key", sa.String(KEY_CHARS), primary_key=True),
    _json("mark", "{}"),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW, index=True),
)

likes = sa.Table(
    "likes",
    metadata,
    sa.Column("like_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("record_id", sa.String(MAX_NAME_CHARS)),
    sa.Column("structure_id", sa.String(MAX_NAME_CHARS), index=True),
    sa.Column("image_url", sa.String(MAX_URL_CHARS)),
    sa.Column("received_at", TIME, nullable=False, server_default=NOW, index=True),
    # The cycle that took it; None while it is free. A stamp, since a watermark by id loses likes that commit late.
    sa.Column("cycle_run_id", UUID(as_uuid=False)),
    sa.Column("consumed_at", TIME),
    # Whether it is part of the counter; a reset leaves the like and takes it out.
    sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Index("ix_likes_free", "like_id", postgresql_where=sa.text("cycle_run_id is null")),
    sa.Index("ix_likes_cycle_run_id", "cycle_run_id"),
    sa.Index("uq_likes_record_id", "record_id", unique=True, postgresql_where=sa.text("record_id is not null")),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("run_id", UUID(as_uuid=False), unique=True),
    sa.Column("kind", sa.String(STATUS_CHARS), nullable=False),
    sa.Column("status", sa.String(STATUS_CHARS), nullable=False, server_default="active"),
    sa.Column("owner", sa.String(MAX_NAME_CHARS), nullable=False),
    _json("joiners", "[]"),
    _json("request", "{}"),
    # The schedule's instant this batch was started for, and which try of that day it is.
    sa.Column("firing", TIME),
    sa.Column("try_number", sa.Integer),
    sa.Column("success", sa.Boolean),
    sa.Column("outcome", JSONB),
    sa.Column("counted_at", TIME),
    sa.Column("started_at", TIME, nullable=False, server_default=NOW, index=True),
    sa.Column("finished_at", TIME, index=True),
    sa.CheckConstraint("kind in ('daily', 'manual')", name="kind"),
    sa.CheckConstraint("status in ('active', 'paused', 'ended')", name="status"),
    sa.UniqueConstraint("firing", "try_number"),
    # Two daily batches are never active at once; who comes second joins. A paused one is in nobody's way.
    sa.Index(
        "uq_batches_active_daily", "kind", unique=True, postgresql_where=sa.text("kind = 'daily' and status = 'active'")
    ),
)

# A learning cycle, from its start to what became of the likes it took.
learning_cycles = sa.Table(
    "learning_cycles",
    metadata,
    sa.Column("run_id", UUID(as_uuid=False), primary_key=True),
    # The batch that started it and waits for it.
    sa.Column("parent_run_id", UUID(as_uuid=False)),
    sa.Column("trigger", sa.String(STATUS_CHARS), nullable=False),
    sa.Column("likes_taken", sa.Integer, nullable=False),
    # What of the counter goes back when the cycle learns nothing.
    sa.Column("likes_counted", sa.Integer, nullable=False),
    # The part of it that came from a state file, for which there are no rows.
    sa.Column("likes_imported", sa.Integer, nullable=False, server_default="0"),
    sa.Column("status", sa.String(STATUS_CHARS), nullable=False, server_default="running"),
    sa.Column("reason", sa.String(MESSAGE_CHARS)),
    sa.Column("metrics", JSONB),
    sa.Column("started_at", TIME, nullable=False, server_default=NOW),
    sa.Column("ended_at", TIME),
    sa.CheckConstraint(
        "status in ('running', 'trained', 'kept_previous', 'skipped', 'failed', 'cancelled')", name="status"
    ),
    sa.CheckConstraint("(status = 'running') = (ended_at is null)", name="ended"),
    # One at a time, whatever the program thinks.
    sa.Index(
        "uq_learning_cycles_running", sa.text("(true)"), unique=True, postgresql_where=sa.text("ended_at is null")
    ),
    sa.Index(None, "parent_run_id"),
    sa.Index(None, "started_at"),
)

structure_scores = sa.Table(
    "structure_scores",
    metadata,
    sa.Column("score_id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("structure_id", sa.String(MAX_ID_CHARS), nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("model_version", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("run_id", UUID(as_uuid=False)),
    sa.Column("at", TIME, nullable=False, server_default=NOW),
    sa.CheckConstraint("score between 0 and 1", name="score"),
    sa.Index(None, "structure_id", "at"),
)

# One row. It is locked by whatever counts: a like, a batch's end, a learning cycle.
state = sa.Table(
    "studio_state",
    metadata,
    sa.Column("only", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("likes_since_last_retrain", sa.Integer, nullable=False, server_default="0"),
    sa.Column("likes_at_last_try", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_like_at", TIME),
    sa.Column("last_retrain_at", TIME),
    sa.Column("total_retrains", sa.Integer, nullable=False, server_default="0"),
    sa.Column("total_likes_processed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("cycle_run_id", UUID(as_uuid=False)),
    sa.Column("last_error", sa.String(MESSAGE_CHARS)),
    sa.Column("last_cycle", JSONB),
    sa.Column("last_batch_at", TIME),
    sa.Column("total_batches", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_batch_result", JSONB),
    sa.Column("last_generation_at", TIME),
    sa.Column("total_generations", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_generation_result", JSONB),
    _json("cached_scores", "{}"),
    _json("cached_doubts", "{}"),
    sa.Column("scores_cached_at", TIME),
    sa.Column("scores_model_version", sa.String(MAX_NAME_CHARS)),
    sa.CheckConstraint(sa.column("only"), name="one_row"),
    sa.CheckConstraint("likes_since_last_retrain >= 0", name="likes"),
)
