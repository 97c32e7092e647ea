"""Versions in PostgreSQL."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from app.learning.model import Version
from app.learning.tables import NOW, REASON_CHARS, model_versions

_COLUMNS = [model_versions.c[name] for name in Version.__dataclass_fields__]


class PgVersions:
    """Keep versions."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def lock(self, connection: sa.Connection, scorer: str) -> None:
        """Let nobody else change this scorer's versions until the transaction ends."""
        name = f"model_versions:{scorer}"
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    def add(self, connection: sa.Connection, version: Version) -> Version:
        """Write a new version; its number is given here."""
        values = {name: getattr(version, name) for name in Version.__dataclass_fields__}
        for name in ("number", "created_at", "promoted_at"):
            values.pop(name)
        values["reason"] = version.reason[:REASON_CHARS]
        if version.status == "serving":
            values["promoted_at"] = NOW
        row = connection.execute(model_versions.insert().values(**values).returning(*_COLUMNS)).one()
        return Version(*row)

    def set_status(self, connection: sa.Connection, number: int, status: str) -> None:
        """Change what a version does."""
        values: dict[str, Any] = {"status": status}
        if status == "serving":
            values["promoted_at"] = NOW
        connection.execute(model_versions.update().where(model_versions.c.number == number).values(**values))

    def serving(self, scorer: str, connection: sa.Connection | None = None) -> Version | None:
        """Give the version that serves."""
        return self._first(self._of(scorer, "serving"), connection)

    def retired(self, scorer: str, connection: sa.Connection | None = None) -> list[Version]:
        """List the versions that served before, the last one first."""
        query = self._of(scorer, "retired").order_by(None).order_by(model_versions.c.promoted_at.desc())
        return self._all(query, connection)

    def trained_by(self, scorer: str, run_id: str, connection: sa.Connection | None = None) -> Version | None:
        """Give what a run has trained."""
        query = sa.select(*_COLUMNS).where(model_versions.c.scorer == scorer, model_versions.c.run_id == run_id)
        return self._first(query, connection)

    def find(self, number: int) -> Version | None:
        """Give a version by its number."""
        return self._first(sa.select(*_COLUMNS).where(model_versions.c.number == number), None)

    def list_versions(self, scorer: str | None = None, limit: int = 100) -> list[Version]:
        """List versions, newest first."""
        query = sa.select(*_COLUMNS).order_by(model_versions.c.number.desc()).limit(limit)
        return self._all(query if scorer is None else query.where(model_versions.c.scorer == scorer), None)

    def scorers(self) -> list[str]:
        """List the scorers that have any version."""
        query = sa.select(model_versions.c.scorer).distinct().order_by(model_versions.c.scorer)
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    @staticmethod
    def _of(scorer: str, status: str) -> sa.Select[Any]:
        return sa.select(*_COLUMNS).where(model_versions.c.scorer == scorer, model_versions.c.status == status)

    def _first(self, query: sa.Select[Any], connection: sa.Connection | None) -> Version | None:
        found = self._all(query.limit(1), connection)
        return found[0] if found else None

    def _all(self, query: sa.Select[Any], connection: sa.Connection | None) -> list[Version]:
        if connection is None:
            with self.engine.connect() as own:
                return self._all(query, own)
        return [Version(*row) for row in connection.execute(query)]
