"""The one row of counters; `cycles.py` has the likes it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.studio.tables import state


def lock_state(connection: sa.Connection) -> dict[str, Any]:
    """Lock the row and give it; it is made when it is missing."""
    row = connection.execute(sa.select(state).with_for_update()).mappings().one_or_none()
    if row is None:
        connection.execute(insert(state).values(only=True).on_conflict_do_nothing())
        row = connection.execute(sa.select(state).with_for_update()).mappings().one()
    return dict(row)


class PgState:
    """Keep the counters."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self) -> dict[str, Any]:
        """Give the row as it is."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(state)).mappings().one_or_none()
        if row is not None:
            return dict(row)
        with self._engine.begin() as connection:
            return lock_state(connection)

    def overwrite(self, values: Mapping[str, Any], connection: sa.Connection | None = None) -> None:
        """Set some of the counters."""
        if connection is None:
            with self._engine.begin() as own:
                self.overwrite(values, own)
            return
        lock_state(connection)
        connection.execute(state.update().values(**values))
