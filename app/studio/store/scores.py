"""Scores in PostgreSQL: the ones that serve now, and every change of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.studio.model import Structure, like_rate, rate_deviation
from app.studio.store.state import lock_state
from app.studio.tables import NOW, likes, prompts, state, structure_scores

HISTORY_SHOWN = 100
_SAME = 1e-9
_KEEPING = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("studio_scores", 0)))


@dataclass(frozen=True)
class CachedScores:
    """The scores that serve; `cached_at` is None before the first ones, `doubts` empty where their maker gave none."""

    scores: dict[str, float]
    cached_at: datetime | None
    model_version: str | None
    age_s: float | None
    doubts: dict[str, float] = field(default_factory=dict)


class PgScores:
    """Keep scores."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def cached(self) -> CachedScores:
        """Give the scores that serve."""
        age = sa.func.extract("epoch", NOW - state.c.scores_cached_at)
        query = sa.select(
            state.c.cached_scores, state.c.scores_cached_at, state.c.scores_model_version, age, state.c.cached_doubts
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return CachedScores({}, None, None, None)
        return CachedScores(row[0], row[1], row[2], None if row[3] is None else float(row[3]), row[4])

    def keep(
        self,
        scores: Mapping[str, float],
        model_version: str,
        run_id: str | None,
        doubts: Mapping[str, float] | None = None,
    ) -> None:
        """Let these scores serve, and add those that changed to the history.

        Args:
            scores: by structure id.
            model_version: what made them.
            run_id: in which run.
            doubts: standard deviations by structure id; without them the rates' own serve.
        """
        with self._engine.begin() as connection:
            # Not under the counters' lock: a like would wait until the history of every structure is written.
            connection.execute(_KEEPING)
            known, version = self._serving(connection)
            same_model = version == model_version
            changed = [
                {"structure_id": key, "score": score, "model_version": model_version, "run_id": run_id}
                for key, score in sorted(scores.items())
                if not same_model or abs(known.get(key, -1) - score) > _SAME
            ]
            if changed:
                connection.execute(structure_scores.insert(), changed)
            values = {
                "cached_scores": dict(scores),
                "cached_doubts": dict(doubts or {}),
                "scores_cached_at": NOW,
                "scores_model_version": model_version,
            }
            # The last statement: it is what takes the counters' lock.
            if not connection.execute(state.update().values(**values)).rowcount:
                lock_state(connection)
                connection.execute(state.update().values(**values))

    def _serving(self, connection: sa.Connection) -> tuple[dict[str, float], str | None]:
        row = connection.execute(sa.select(state.c.cached_scores, state.c.scores_model_version)).one_or_none()
        return ({}, None) if row is None else (row[0], row[1])

    def history(self, structure_id: str) -> list[dict[str, Any]]:
        """Give a structure's scores over time, newest first."""
        query = (
            sa.select(structure_scores.c.at, structure_scores.c.score, structure_scores.c.model_version)
            .where(structure_scores.c.structure_id == structure_id)
            .order_by(structure_scores.c.score_id.desc())
            .limit(HISTORY_SHOWN)
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def count_outcomes(self, structures: Sequence[Structure]) -> dict[str, tuple[int, int]]:
        """Count how often each structure was liked and shown.

        Where the base counted too (`statistics`), the larger number of the two counts: its likes and ours are mostly
        the same ones seen from two sides.

        Returns:
            `(liked, shown)` by structure id, one for each structure.
        """
        shown_query = sa.select(prompts.c.structure_id, sa.func.count()).group_by(prompts.c.structure_id)
        liked_query = sa.select(likes.c.structure_id, sa.func.count()).group_by(likes.c.structure_id)
        by_prompt = (
            sa.select(prompts.c.structure_id, sa.func.count())
            .join(likes, likes.c.record_id == prompts.c.record_id)
            .where(likes.c.structure_id.is_(None))
            .group_by(prompts.c.structure_id)
        )
        with self._engine.connect() as connection:
            shown, liked, liked_by_prompt = (
                {row[0]: row[1] for row in connection.execute(query)} for query in (shown_query, liked_query, by_prompt)
            )
        counts = {}
        for item in structures:
            ids = {item.structure_id, item.record_id} - {None}
            ours = sum(liked.get(key, 0) for key in ids) + liked_by_prompt.get(item.structure_id, 0)
            theirs = item.statistics
            counts[item.structure_id] = (
                max(ours, int(theirs.get("liked", 0))),
                max(shown.get(item.structure_id, 0), int(theirs.get("shown", 0))),
            )
        return counts

    def rates(self, structures: Sequence[Structure]) -> tuple[dict[str, float], dict[str, float]]:
        """Give each structure's smoothed like rate and how uncertain it is."""
        counts = self.count_outcomes(structures)
        return (
            {key: round(like_rate(*count), 6) for key, count in counts.items()},
            {key: rate_deviation(*count) for key, count in counts.items()},
        )
