"""What assets are, and what refers to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INSTANT = sa.TIMESTAMP(timezone=True)
FALLEN = "when nothing referred to it any more; its file goes a day later"


def upgrade() -> None:
    """Apply the change."""
    op.add_column("assets", sa.Column("width", sa.Integer(), nullable=True))
    op.add_column("assets", sa.Column("height", sa.Integer(), nullable=True))
    op.add_column("assets", sa.Column("seconds", sa.Numeric(10, 3), nullable=True))
    op.add_column("assets", sa.Column("fallen_at", INSTANT, nullable=True, comment=FALLEN))
    op.drop_column("assets", "run_id")
    op.create_index("ix_assets_fallen_at", "assets", ["fallen_at"], postgresql_where=sa.text("fallen_at is not null"))
    op.create_table(
        "asset_uses",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False, comment="what refers to it, such as run:<id>"),
        sa.ForeignKeyConstraint(
            ["hash", "owner"],
            ["assets.hash", "assets.owner"],
            name=op.f("fk_asset_uses_hash_owner_assets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("hash", "owner", "holder", name=op.f("pk_asset_uses")),
    )
    op.create_index("ix_asset_uses_holder", "asset_uses", ["holder"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("asset_uses")
    op.drop_index("ix_assets_fallen_at", table_name="assets")
    op.add_column("assets", sa.Column("run_id", sa.UUID(as_uuid=False), nullable=True))
    for name in ("fallen_at", "seconds", "height", "width"):
        op.drop_column("assets", name)
