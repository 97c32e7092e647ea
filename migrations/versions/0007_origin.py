"""Which request a run comes from, and the trace it goes on in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    comment = "the request it comes from, and its traceparent"
    op.add_column("runs", sa.Column("origin", JSONB(none_as_null=True), nullable=True, comment=comment))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("runs", "origin")
