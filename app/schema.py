"""Bring a database to the newest schema, by the revisions under migrations/."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "migrations"


def upgrade_schema(database_url: str) -> None:
    """Apply every revision that the database lacks; does nothing when there is none.

    Args:
        database_url: as in DATABASE_URL. `migrations/env.py` finds it as the option `sqlalchemy.url`.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    command.upgrade(config, "head")
