"""What chats teach: who said a category, where a held-out message would have gone, and how far trainings have seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SORTED_BY = "who said the category: model or local; null where its shape decided"
HELD_FROM = "where a held-out message would have gone"
SEEN_UNTIL = "rows up to here started it; later ones count for the next"


def upgrade() -> None:
    """Apply the change."""
    op.add_column("chat_turns", sa.Column("sorted_by", sa.Text(), nullable=True, comment=SORTED_BY))
    op.add_column("chat_turns", sa.Column("held_from", sa.Text(), nullable=True, comment=HELD_FROM))
    op.create_table(
        "learning_trainings",
        sa.Column("scorer", sa.String(40), nullable=False),
        sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True),
        sa.Column("seen_until", sa.TIMESTAMP(timezone=True), nullable=True, comment=SEEN_UNTIL),
        sa.PrimaryKeyConstraint("scorer", name=op.f("pk_learning_trainings")),
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("learning_trainings")
    op.drop_column("chat_turns", "held_from")
    op.drop_column("chat_turns", "sorted_by")
