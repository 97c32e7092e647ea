"""Questions that wait to be asked together, and the vendors' batches they went into."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
INSTANT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Apply the change."""
    op.create_table(
        "vendor_batches",
        sa.Column("batch_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False, comment="the vendor's id"),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="new", nullable=False, comment="new submitted ended"),
        sa.Column("vendor_id", sa.Text(), nullable=True),
        sa.Column("live_at", INSTANT, nullable=False, comment="when the first of its questions must be asked live"),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("submitted_at", INSTANT, nullable=True),
        sa.Column("cancel_asked_at", INSTANT, nullable=True),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.Column("due_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("owner", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False, comment="of handing it in"),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_vendor_batches")),
        sa.UniqueConstraint("mark", name=op.f("uq_vendor_batches_mark")),
    )
    op.create_index(
        "ix_vendor_batches_due", "vendor_batches", ["due_at"], postgresql_where=sa.text("status <> 'ended'")
    )
    op.create_table(
        "pooled_calls",
        sa.Column("item_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False, comment="the vendor's id"),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.Column("pooled_at", INSTANT, server_default=NOW, nullable=False),
        sa.Column("live_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["vendor_batches.batch_id"],
            name=op.f("fk_pooled_calls_batch_id_vendor_batches"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_pooled_calls")),
        sa.UniqueConstraint("run_id", "step_key", "ordinal", name=op.f("uq_pooled_calls_run_id_step_key_ordinal")),
    )
    op.create_index("ix_pooled_calls_batch_id", "pooled_calls", ["batch_id"])
    op.create_index(
        "ix_pooled_calls_waiting", "pooled_calls", ["provider", "model"], postgresql_where=sa.text("batch_id is null")
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("pooled_calls")
    op.drop_table("vendor_batches")
