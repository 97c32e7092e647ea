"""The migrated tables are the ones the program declares."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.assignments import tables

OURS = {"persons", "assignment_history", "assignment_weights", "assignment_state"}


def test_the_migrated_tables_are_those_that_are_declared(engine: sa.Engine) -> None:
    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name in OURS

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": is_ours, "compare_type": True, "compare_server_default": True}
        )
        declared = sa.MetaData(naming_convention=tables.persons.metadata.naming_convention)
        for name in sorted(OURS):
            tables.persons.metadata.tables[name].to_metadata(declared)
        assert compare_metadata(context, declared) == []
        assert set(sa.inspect(connection).get_table_names()) >= OURS
