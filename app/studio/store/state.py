"""The one row of counters, and the likes it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.studio.model import LikeCount, count_like
from app.studio.tables import NOW, likes, state


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

    def add_like(self, like: Mapping[str, Any], threshold: int) -> LikeCount:
        """Store a like and count it, once per `record_id`.

        Returns:
            The counter after it; status `duplicate` when this record was liked before.
        """
        statement = (
            insert(likes)
            .values(**like)
            .on_conflict_do_nothing(index_elements=[likes.c.record_id], index_where=likes.c.record_id.is_not(None))
        )
        with self._engine.begin() as connection:
            if connection.execute(statement.returning(likes.c.like_id)).scalar_one_or_none() is None:
                row = lock_state(connection)
                return LikeCount(row["likes_since_last_retrain"], row["likes_at_last_try"], "duplicate")
            row = lock_state(connection)
            counted = count_like(
                row["likes_since_last_retrain"],
                row["likes_at_last_try"],
                threshold,
                cycle_running=row["cycle_run_id"] is not None,
            )
            values = {"likes_since_last_retrain": counted.likes, "likes_at_last_try": counted.at_last_try}
            connection.execute(state.update().values(**values, last_like_at=NOW))
        return counted

    def reset_counter(self) -> None:
        """Set the counter of likes to 0; the likes themselves stay."""
        self.overwrite({"likes_since_last_retrain": 0, "likes_at_last_try": 0})

    def overwrite(self, values: Mapping[str, Any]) -> None:
        """Set some of the counters."""
        with self._engine.begin() as connection:
            lock_state(connection)
            connection.execute(state.update().values(**values))
