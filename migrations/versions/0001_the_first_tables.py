"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:  # noqa: PLR0915 - one statement a table
    """Apply the change."""
    op.execute("create extension if not exists vector")
    op.create_table(
        "admission",
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_admission")),
    )
    op.create_index(
        "ix_admission_free", "admission", ["place"], unique=False, postgresql_where=sa.text("run_id is null")
    )
    op.create_index(
        "ix_admission_run", "admission", ["run_id"], unique=True, postgresql_where=sa.text("run_id is not null")
    )
    op.create_table(
        "assets",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.PrimaryKeyConstraint("hash", "owner", name=op.f("pk_assets")),
    )
    op.create_table(
        "batches",
        sa.Column("batch_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=40), server_default="active", nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column(
            "joiners", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column(
            "request", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("firing", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("try_number", sa.Integer(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("counted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "started_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("kind in ('daily', 'manual')", name=op.f("ck_batches_kind")),
        sa.CheckConstraint("status in ('active', 'paused', 'ended')", name=op.f("ck_batches_status")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batches")),
        sa.UniqueConstraint("firing", "try_number", name=op.f("uq_batches_firing_try_number")),
        sa.UniqueConstraint("run_id", name=op.f("uq_batches_run_id")),
    )
    op.create_index(op.f("ix_batches_finished_at"), "batches", ["finished_at"], unique=False)
    op.create_index(op.f("ix_batches_started_at"), "batches", ["started_at"], unique=False)
    op.create_index(
        "uq_batches_active_daily",
        "batches",
        ["kind"],
        unique=True,
        postgresql_where=sa.text("kind = 'daily' and status = 'active'"),
    )
    op.create_table(
        "budgets",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="'' for the installation, else an owner"),
        sa.Column("spent_usd", sa.Numeric(precision=16, scale=6), server_default="0", nullable=False),
        sa.Column("reserved_usd", sa.Numeric(precision=16, scale=6), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("day", "name", name=op.f("pk_budgets")),
    )
    op.create_table(
        "calls",
        sa.Column("call_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column(
            "part", sa.Integer(), server_default="0", nullable=False, comment="which of the step's questions this asks"
        ),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="the run's kind"),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="sent answered rejected failed unknown"),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("response", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("vendor_job_id", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_5m_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_1h_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("estimate_usd", sa.Numeric(precision=16, scale=6), nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=16, scale=6), nullable=True),
        sa.Column("price_version", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "day", sa.Date(), server_default=sa.text("(clock_timestamp() at time zone 'utc')::date"), nullable=False
        ),
        sa.Column(
            "sent_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("answered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_calls")),
        sa.UniqueConstraint("run_id", "step_key", "ordinal", name=op.f("uq_calls_run_id_step_key_ordinal")),
    )
    op.create_index("ix_calls_sent_at", "calls", ["sent_at"], unique=False)
    op.create_table(
        "designers",
        sa.Column("designer_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("record_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("designer_id", name=op.f("pk_designers")),
        sa.UniqueConstraint("record_id", name=op.f("uq_designers_record_id")),
    )
    op.create_table(
        "garments",
        sa.Column("garment_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("record_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("garment_id", name=op.f("pk_garments")),
        sa.UniqueConstraint("record_id", name=op.f("uq_garments_record_id")),
    )
    op.create_table(
        "ideas",
        sa.Column("idea_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("step_key", sa.String(length=200), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=True),
        sa.Column("skeleton", sa.String(length=8000), nullable=False),
        sa.Column("renderer", sa.String(length=100), server_default="", nullable=False),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("status", sa.String(length=40), server_default="proposed", nullable=False),
        sa.Column("parent", sa.String(length=200), nullable=True),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("structure_id", sa.String(length=200), nullable=True),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("decided_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("status in ('proposed', 'approved', 'declined')", name=op.f("ck_ideas_status")),
        sa.PrimaryKeyConstraint("idea_id", name=op.f("pk_ideas")),
        sa.UniqueConstraint("run_id", "step_key", "place", name=op.f("uq_ideas_run_id_step_key_place")),
    )
    op.create_index(op.f("ix_ideas_created_at"), "ideas", ["created_at"], unique=False)
    op.create_index(op.f("ix_ideas_fingerprint"), "ideas", ["fingerprint"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False, comment="method and path"),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("claimed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True, comment="of an answer without a run"),
        sa.Column("response", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "route", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_expires_at", "idempotency", ["expires_at"], unique=False)
    op.create_index(
        "ix_idempotency_run_id", "idempotency", ["run_id"], unique=False, postgresql_where=sa.text("run_id is not null")
    )
    op.create_table(
        "likes",
        sa.Column("like_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("record_id", sa.String(length=200), nullable=True),
        sa.Column("structure_id", sa.String(length=200), nullable=True),
        sa.Column("image_url", sa.String(length=2000), nullable=True),
        sa.Column(
            "received_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("like_id", name=op.f("pk_likes")),
    )
    op.create_index(op.f("ix_likes_received_at"), "likes", ["received_at"], unique=False)
    op.create_index(op.f("ix_likes_structure_id"), "likes", ["structure_id"], unique=False)
    op.create_index(
        "uq_likes_record_id", "likes", ["record_id"], unique=True, postgresql_where=sa.text("record_id is not null")
    )
    op.create_table(
        "processes",
        sa.Column("process_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("process_id", name=op.f("pk_processes")),
    )
    op.create_index("ix_processes_expires_at", "processes", ["expires_at"], unique=False)
    op.create_table(
        "prompts",
        sa.Column("prompt_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("step_key", sa.String(length=200), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(length=20000), nullable=False),
        sa.Column("renderer", sa.String(length=100), server_default="", nullable=False),
        sa.Column("structure_id", sa.String(length=200), nullable=True),
        sa.Column("structure_record_id", sa.String(length=200), nullable=True),
        sa.Column("designer", sa.String(length=200), nullable=True),
        sa.Column("designer_record_id", sa.String(length=200), nullable=True),
        sa.Column("garment", sa.String(length=200), nullable=True),
        sa.Column("garment_record_id", sa.String(length=200), nullable=True),
        sa.Column("explored", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("propensity", sa.Double(), nullable=True),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("sent_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("record_id", sa.String(length=200), nullable=True),
        sa.Column("history_sent_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("history_record_id", sa.String(length=200), nullable=True),
        sa.Column("write_error", sa.String(length=500), nullable=True),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("prompt_id", name=op.f("pk_prompts")),
        sa.UniqueConstraint("record_id", name=op.f("uq_prompts_record_id")),
        sa.UniqueConstraint("run_id", "fingerprint", name=op.f("uq_prompts_run_id_fingerprint")),
    )
    op.create_index(op.f("ix_prompts_created_at"), "prompts", ["created_at"], unique=False)
    op.create_index(op.f("ix_prompts_structure_id"), "prompts", ["structure_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column(
            "subject", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("max_cost_usd", sa.Numeric(precision=16, scale=6), nullable=True),
        sa.Column("spent_usd", sa.Numeric(precision=16, scale=6), server_default="0", nullable=False),
        sa.Column("reserved_usd", sa.Numeric(precision=16, scale=6), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("callback_url", sa.Text(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("event_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("block_index", sa.Integer(), server_default="0", nullable=False),
        sa.Column("block_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("completed_steps", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_steps", sa.Integer(), server_default="0", nullable=False),
        sa.Column("waiting_steps", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index("ix_runs_created", "runs", ["created_at"], unique=False)
    op.create_index(
        "ix_runs_finished", "runs", ["finished_at"], unique=False, postgresql_where=sa.text("finished_at is not null")
    )
    op.create_index("ix_runs_owner_created", "runs", ["owner", "created_at"], unique=False)
    op.create_index(
        "ix_runs_queued",
        "runs",
        ["priority", "created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_table(
        "slots",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("step_key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", "place", name=op.f("pk_slots")),
    )
    op.create_index(
        "ix_slots_holder", "slots", ["run_id", "step_key"], unique=False, postgresql_where=sa.text("run_id is not null")
    )
    op.create_table(
        "structure_scores",
        sa.Column("score_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("structure_id", sa.String(length=200), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("model_version", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("score between 0 and 1", name=op.f("ck_structure_scores_score")),
        sa.PrimaryKeyConstraint("score_id", name=op.f("pk_structure_scores")),
    )
    op.create_index(
        op.f("ix_structure_scores_structure_id_structure_scores_at"),
        "structure_scores",
        ["structure_id", "at"],
        unique=False,
    )
    op.create_table(
        "structures",
        sa.Column("structure_id", sa.String(length=200), nullable=False),
        sa.Column("record_id", sa.String(length=200), nullable=True),
        sa.Column("skeleton", sa.String(length=8000), nullable=False),
        sa.Column("renderer", sa.String(length=100), server_default="", nullable=False),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "statistics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("status", sa.String(length=40), server_default="active", nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("parent", sa.String(length=200), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("structure_id", name=op.f("pk_structures")),
        sa.UniqueConstraint("record_id", name=op.f("uq_structures_record_id")),
    )
    op.create_index(op.f("ix_structures_fingerprint"), "structures", ["fingerprint"], unique=False)
    op.create_table(
        "studio_fingerprints",
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("used_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("kind in ('prompt', 'idea')", name=op.f("ck_studio_fingerprints_kind")),
        sa.PrimaryKeyConstraint("kind", "fingerprint", name=op.f("pk_studio_fingerprints")),
    )
    op.create_index(op.f("ix_studio_fingerprints_used_at"), "studio_fingerprints", ["used_at"], unique=False)
    op.create_table(
        "studio_marks",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("step_key", sa.String(length=200), nullable=False),
        sa.Column(
            "mark", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("run_id", "step_key", name=op.f("pk_studio_marks")),
    )
    op.create_index(op.f("ix_studio_marks_updated_at"), "studio_marks", ["updated_at"], unique=False)
    op.create_table(
        "studio_state",
        sa.Column("only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("likes_since_last_retrain", sa.Integer(), server_default="0", nullable=False),
        sa.Column("likes_at_last_try", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_like_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_retrain_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("total_retrains", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total_likes_processed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cycle_run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("last_error", sa.String(length=500), nullable=True),
        sa.Column("last_cycle", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("last_batch_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("total_batches", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_batch_result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("last_generation_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("total_generations", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_generation_result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "cached_scores",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("scores_cached_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("scores_model_version", sa.String(length=200), nullable=True),
        sa.CheckConstraint('"only"', name=op.f("ck_studio_state_one_row")),
        sa.CheckConstraint("likes_since_last_retrain >= 0", name=op.f("ck_studio_state_likes")),
        sa.PrimaryKeyConstraint("only", name=op.f("pk_studio_state")),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.UUID(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="sha256 of the secret, hex"),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    op.create_table(
        "blocks",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("latency", sa.Text(), server_default="live", nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False, comment="steps that may be sent or running at once"),
        sa.Column("taken", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_blocks_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "block", name=op.f("pk_blocks")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "events",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column(
            "at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_events_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_events")),
    )
    op.create_table(
        "outbox",
        sa.Column("delivery_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False, comment="pending delivered failed"),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "not_before",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("delivered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_outbox_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_due", "outbox", ["not_before"], unique=False, postgresql_where=sa.text("status = 'pending'")
    )
    op.create_index("ix_outbox_run_id", "outbox", ["run_id"], unique=False)
    op.create_table(
        "run_inputs",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("variables", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_run_inputs_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_inputs")),
    )
    op.create_table(
        "slot_waiters",
        sa.Column("waiter_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("fk_slot_waiters_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("waiter_id", name=op.f("pk_slot_waiters")),
        sa.UniqueConstraint("name", "run_id", "step_key", name=op.f("uq_slot_waiters_name_run_id_step_key")),
    )
    op.create_table(
        "steps",
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("item", sa.Integer(), nullable=True),
        sa.Column("item_value", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("task", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reads", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("ancestors", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("dependents", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("deps_left", sa.Integer(), server_default="0", nullable=False),
        sa.Column("output_variable", sa.Text(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("slots", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("doomed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("placed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("owner", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "tries", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("not_before", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("enqueued_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("resends", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rendered", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("output", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=16, scale=6), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_steps_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_steps")),
        postgresql_with={"fillfactor": "60"},
    )
    op.create_index(
        "ix_steps_next",
        "steps",
        ["run_id", "block", "position", "item"],
        unique=False,
        postgresql_where=sa.text("status = 'ready' and not placed"),
    )
    op.create_index(
        "ix_steps_parked", "steps", ["not_before"], unique=False, postgresql_where=sa.text("status = 'parked'")
    )
    op.create_index(
        "ix_steps_ready",
        "steps",
        ["enqueued_at"],
        unique=False,
        postgresql_where=sa.text("status = 'ready' and placed"),
    )
    op.create_index(
        "ix_steps_running", "steps", ["owner"], unique=False, postgresql_where=sa.text("status = 'running'")
    )


def downgrade() -> None:  # noqa: PLR0915 - one statement a table
    """Take the change back."""
    op.execute("drop view if exists cost_tracking")
    op.drop_index("ix_steps_running", table_name="steps", postgresql_where=sa.text("status = 'running'"))
    op.drop_index("ix_steps_ready", table_name="steps", postgresql_where=sa.text("status = 'ready' and placed"))
    op.drop_index("ix_steps_next", table_name="steps", postgresql_where=sa.text("status = 'ready' and not placed"))
    op.drop_index("ix_steps_parked", table_name="steps", postgresql_where=sa.text("status = 'parked'"))
    op.drop_table("steps")
    op.drop_table("slot_waiters")
    op.drop_table("run_inputs")
    op.drop_index("ix_outbox_run_id", table_name="outbox")
    op.drop_index("ix_outbox_due", table_name="outbox", postgresql_where=sa.text("status = 'pending'"))
    op.drop_table("outbox")
    op.drop_table("events")
    op.drop_table("blocks")
    op.drop_table("tokens")
    op.drop_table("studio_state")
    op.drop_index(op.f("ix_studio_marks_updated_at"), table_name="studio_marks")
    op.drop_table("studio_marks")
    op.drop_index(op.f("ix_studio_fingerprints_used_at"), table_name="studio_fingerprints")
    op.drop_table("studio_fingerprints")
    op.drop_index(op.f("ix_structures_fingerprint"), table_name="structures")
    op.drop_table("structures")
    op.drop_index(op.f("ix_structure_scores_structure_id_structure_scores_at"), table_name="structure_scores")
    op.drop_table("structure_scores")
    op.drop_index("ix_slots_holder", table_name="slots", postgresql_where=sa.text("run_id is not null"))
    op.drop_table("slots")
    op.drop_index("ix_runs_queued", table_name="runs", postgresql_where=sa.text("status = 'queued'"))
    op.drop_index("ix_runs_owner_created", table_name="runs")
    op.drop_index("ix_runs_finished", table_name="runs", postgresql_where=sa.text("finished_at is not null"))
    op.drop_index("ix_runs_created", table_name="runs")
    op.drop_table("runs")
    op.drop_index(op.f("ix_prompts_structure_id"), table_name="prompts")
    op.drop_index(op.f("ix_prompts_created_at"), table_name="prompts")
    op.drop_table("prompts")
    op.drop_index("ix_processes_expires_at", table_name="processes")
    op.drop_table("processes")
    op.drop_index("uq_likes_record_id", table_name="likes", postgresql_where=sa.text("record_id is not null"))
    op.drop_index(op.f("ix_likes_structure_id"), table_name="likes")
    op.drop_index(op.f("ix_likes_received_at"), table_name="likes")
    op.drop_table("likes")
    op.drop_index("ix_idempotency_run_id", table_name="idempotency", postgresql_where=sa.text("run_id is not null"))
    op.drop_index("ix_idempotency_expires_at", table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_index(op.f("ix_ideas_fingerprint"), table_name="ideas")
    op.drop_index(op.f("ix_ideas_created_at"), table_name="ideas")
    op.drop_table("ideas")
    op.drop_table("garments")
    op.drop_table("designers")
    op.drop_index("ix_calls_sent_at", table_name="calls")
    op.drop_table("calls")
    op.drop_table("budgets")
    op.drop_index(
        "uq_batches_active_daily",
        table_name="batches",
        postgresql_where=sa.text("kind = 'daily' and status = 'active'"),
    )
    op.drop_index(op.f("ix_batches_started_at"), table_name="batches")
    op.drop_index(op.f("ix_batches_finished_at"), table_name="batches")
    op.drop_table("batches")
    op.drop_table("assets")
    op.drop_index("ix_admission_run", table_name="admission", postgresql_where=sa.text("run_id is not null"))
    op.drop_index("ix_admission_free", table_name="admission", postgresql_where=sa.text("run_id is null"))
    op.drop_table("admission")
