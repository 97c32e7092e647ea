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


def drop_functions(connection: sa.Connection) -> None:
    """Remove every function of ours, so that tables can be changed under them; does nothing where there are none.

    Args:
        connection: in a transaction of the caller's, which lays them again.
    """
    _execute(connection, (FOLDER / "00_clear.sql").read_text(encoding="utf-8"))


def create_functions(connection: sa.Connection) -> None:
    """Lay every function in one transaction, in place of all that were there.

    Args:
        connection: in a transaction of the caller's; its tables exist.
    """
    for text in read_functions():
        _execute(connection, text)


def _execute(connection: sa.Connection, text: str) -> None:
    # The driver's own cursor: the texts hold `%` and `:` that no parameter style may touch.
    cursor = connection.connection.cursor()
    cursor.execute(text)
    cursor.close()
