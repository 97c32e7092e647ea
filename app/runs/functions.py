"""Put the journal's SQL functions into the database.

They live in `app/runs/sql` as they are read and reviewed, and are laid anew with every migration: a function has no
data to migrate, so its newest text is the right one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

FOLDER = Path(__file__).parent / "sql"


def read_functions() -> list[str]:
    """Read the function files, in the order of their names."""
    return [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.sql"))]


def create_functions(connection: sa.Connection) -> None:
    """Create or replace every function in one transaction.

    Args:
        connection: in a transaction of the caller's; its tables exist.
    """
    for text in read_functions():
        # The driver's own cursor: the texts hold `%` and `:` that no parameter style may touch.
        cursor = connection.connection.cursor()
        cursor.execute(text)
        cursor.close()
