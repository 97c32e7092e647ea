"""Which run trains the assignments' scorer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.add_column("assignment_state", sa.Column("training_run_id", sa.UUID(as_uuid=False), nullable=True))
    op.add_column("assignment_state", sa.Column("training_asked_at", sa.TIMESTAMP(timezone=True), nullable=True))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("assignment_state", "training_asked_at")
    op.drop_column("assignment_state", "training_run_id")
