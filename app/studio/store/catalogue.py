"""Structures, designers and garments in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.studio.model import Listing, Named, Structure
from app.studio.plain_strategist import idea_fingerprint
from app.studio.tables import NOW, designers, garments, structures

_CHANGEABLE = ("record_id", "skeleton", "renderer", "attributes", "statistics", "status", "source", "fingerprint")


class PgCatalogue:
    """Keep what prompts are built from."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def usable_structures(self) -> list[Structure]:
        """Give the structures that prompts may be built with, in order of their age, then their ids."""
        return [item for item in self.all_structures() if item.usable]

    def all_structures(self) -> list[Structure]:
        """Give every structure, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(structures).order_by(structures.c.created_at, structures.c.structure_id)
            )
            return [read_structure(row) for row in rows.mappings()]

    def list_structures(self, page: int, page_size: int) -> tuple[list[Structure], int]:
        """Give a page of structures, newest first, and their number."""
        query = sa.select(structures).order_by(structures.c.created_at.desc(), structures.c.structure_id)
        with self._engine.connect() as connection:
            rows = connection.execute(query.limit(page_size).offset((page - 1) * page_size)).mappings().all()
            total = connection.execute(sa.select(sa.func.count()).select_from(structures)).scalar_one()
        return [read_structure(row) for row in rows], total

    def find_structure(self, any_id: str) -> Structure | None:
        """Find a structure by its id, else by its record id."""
        by_id, by_record = structures.c.structure_id == any_id, structures.c.record_id == any_id
        query = sa.select(structures).where(by_id | by_record).order_by(by_id.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else read_structure(row)

    def count_structures(self) -> int:
        """Count all structures."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(structures)).scalar_one()

    def fingerprints(self) -> set[str]:
        """Give what makes each structure the same as another."""
        with self._engine.connect() as connection:
            return set(connection.execute(sa.select(structures.c.fingerprint)).scalars())

    def put_structures(self, items: Sequence[Structure], connection: sa.Connection | None = None) -> None:
        """Write structures, all or none; one whose id is known is written over."""
        if connection is None:
            with self._engine.begin() as own:
                self.put_structures(items, own)
            return
        # In order of their ids, so that two writers of the same ones wait for each other only one way round.
        for item in sorted(items, key=lambda one: one.structure_id):
            statement = insert(structures).values(write_structure(item))
            changes: dict[str, Any] = {name: statement.excluded[name] for name in _CHANGEABLE}
            changes["record_id"] = sa.func.coalesce(statement.excluded.record_id, structures.c.record_id)
            changes["updated_at"] = NOW
            connection.execute(
                statement.on_conflict_do_update(index_elements=[structures.c.structure_id], set_=changes)
            )

    def put_starter(self, items: Sequence[Structure]) -> int:
        """Write structures only where there are none at all, however many processes try; give how many were written."""
        if self.count_structures():
            return 0
        with self._engine.begin() as connection:
            connection.execute(sa.text("lock table structures in share row exclusive mode"))
            if connection.execute(sa.select(sa.exists().select_from(structures))).scalar_one():
                return 0
            self.put_structures(items, connection)
        return len(items)

    def replace_from_base(self, items: Sequence[Structure]) -> int:
        """Write the base's structures as they are now; those it no longer has are retired, not forgotten.

        Returns:
            How many were retired.
        """
        records = [item.record_id for item in items]
        gone = (structures.c.source == "airtable") & structures.c.record_id.is_not(None)
        gone &= structures.c.record_id.not_in(records) & (structures.c.status != "removed")
        with self._engine.begin() as connection:
            # A number that moved to another record must not collide with the old owner's record id on the way.
            moved = structures.c.record_id.in_(records)
            connection.execute(structures.update().where(moved).values(record_id=None))
            self.put_structures(items, connection)
            return connection.execute(structures.update().where(gone).values(status="removed", updated_at=NOW)).rowcount

    def replace_named(self, what: str, items: Sequence[Named]) -> None:
        """Write the base's `designers` or `garments` as they are now."""
        table = {"designers": designers, "garments": garments}[what]
        with self._engine.begin() as connection:
            connection.execute(table.delete().where(table.c.record_id.not_in([item.record_id for item in items])))
            for item in sorted(items, key=lambda one: one.record_id):
                statement = insert(table).values(record_id=item.record_id, name=item.name)
                connection.execute(
                    statement.on_conflict_do_update(index_elements=[table.c.record_id], set_={"name": item.name})
                )

    def named(self, what: str) -> list[Named]:
        """Give the stored `designers` or `garments` in order of their record ids."""
        table = {"designers": designers, "garments": garments}[what]
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(table.c.record_id, table.c.name).order_by(table.c.record_id))
            return [Named(row.record_id, row.name) for row in rows]


def write_structure(item: Structure) -> dict[str, Any]:
    """Give a structure as a row."""
    return {
        "structure_id": item.structure_id,
        "record_id": item.record_id,
        "skeleton": item.skeleton,
        "renderer": item.renderer,
        "attributes": item.attributes,
        "statistics": item.statistics,
        "status": item.status,
        "source": item.source,
        "parent": item.parent,
        "fingerprint": idea_fingerprint(item.skeleton, item.attributes),
    }


def read_structure(row: Any) -> Structure:
    """Read a structure from a row."""
    return Structure(
        row["structure_id"],
        row["skeleton"],
        record_id=row["record_id"],
        renderer=row["renderer"],
        attributes=row["attributes"],
        statistics=row["statistics"],
        status=row["status"],
        source=row["source"],
        parent=row["parent"],
        created_at=row["created_at"],
    )


def read_listing(engine: sa.Engine, query: sa.Select[Any], page: int, page_size: int) -> Listing:
    """Read one page of a query, and how many rows it has in all."""
    with engine.connect() as connection:
        rows = connection.execute(query.limit(page_size).offset((page - 1) * page_size)).mappings().all()
        total = connection.execute(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())).scalar_one()
    return Listing(tuple(dict(row) for row in rows), total)
