"""What a step has already done to the outside world, kept for the try after a crash."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.studio.tables import NOW, fingerprints, marks


class PgMarks:
    """Keep one small JSON value a step."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self, run_id: str, step_key: str) -> dict[str, Any]:
        """Read a step's mark; empty when there is none."""
        query = sa.select(marks.c.mark).where(marks.c.run_id == run_id, marks.c.step_key == step_key)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none() or {}

    def set(self, run_id: str, step_key: str, mark: dict[str, Any]) -> None:
        """Write a step's mark over the one before."""
        statement = insert(marks).values(run_id=run_id, step_key=step_key, mark=mark)
        with self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[marks.c.run_id, marks.c.step_key], set_={"mark": mark, "updated_at": NOW}
                )
            )

    def forget_older_than(self, age: timedelta) -> int:
        """Drop marks and claims on words that are past any use; give their number."""
        with self._engine.begin() as connection:
            old = connection.execute(marks.delete().where(marks.c.updated_at < NOW - age)).rowcount
            return old + connection.execute(fingerprints.delete().where(fingerprints.c.used_at < NOW - age)).rowcount
