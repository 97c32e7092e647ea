"""What was shown and what was liked, as the learning cycle reads it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.studio.examples import Liked, Shown
from app.studio.tables import likes, prompts


class PgExamples:
    """Read showings and likes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def shown(self) -> list[Shown]:
        """Give every prompt that came from a structure, oldest first."""
        columns = (
            prompts.c.prompt_id,
            prompts.c.structure_id,
            prompts.c.record_id,
            prompts.c.renderer,
            sa.func.extract("epoch", prompts.c.created_at),
            prompts.c.propensity,
        )
        query = sa.select(*columns).where(prompts.c.structure_id.is_not(None))
        rows = self._rows(query.order_by(prompts.c.prompt_id))
        return [Shown(row[0], row[1], row[2], row[3], float(row[4]), row[5]) for row in rows]

    def liked(self) -> list[Liked]:
        """Give every like that a cycle has taken, oldest first; those that came since wait for the next one."""
        columns = (likes.c.record_id, likes.c.structure_id, sa.func.extract("epoch", likes.c.received_at))
        query = sa.select(*columns).where(likes.c.cycle_run_id.is_not(None))
        return [Liked(row[0], row[1], float(row[2])) for row in self._rows(query.order_by(likes.c.like_id))]

    def best_prompts(self, each: int) -> list[dict[str, Any]]:
        """Give each structure's most liked prompts, at most `each`, with their likes; the most liked first."""
        counted = (
            sa.select(prompts.c.structure_id, prompts.c.text, sa.func.count(likes.c.like_id).label("liked"))
            .join(likes, likes.c.record_id == prompts.c.record_id)
            .where(prompts.c.structure_id.is_not(None))
            .group_by(prompts.c.prompt_id)
            .subquery()
        )
        place = sa.func.row_number().over(
            partition_by=counted.c.structure_id, order_by=(counted.c.liked.desc(), counted.c.text)
        )
        ranked = sa.select(counted, place.label("place")).subquery()
        query = sa.select(ranked.c.structure_id, ranked.c.text, ranked.c.liked).where(ranked.c.place <= each)
        return [dict(row._mapping) for row in self._rows(query.order_by(ranked.c.structure_id, ranked.c.place))]  # noqa: SLF001 - SQLAlchemy's name for a row as a mapping

    def _rows(self, query: sa.Select[Any]) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(query))
