"""How much a run's outputs come to, so that there can be a most to it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    comment = "of all its steps' outputs"
    op.add_column("runs", sa.Column("output_chars", sa.BigInteger, nullable=False, server_default="0", comment=comment))


def downgrade() -> None:
    """Take the change back."""
    op.drop_column("runs", "output_chars")
