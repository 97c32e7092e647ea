"""Run migrations between taking the journal's functions up and laying them anew.

The address comes from the caller (`batuta migrate` and the tests pass it as `sqlalchemy.url`), never from a file.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from app.bootstrap import load_tables
from app.database import metadata
from app.runs.functions import create_functions, drop_functions

load_tables()


def run_migrations() -> None:
    """Migrate in one transaction, under a lock, so that two starts at once do it once."""
    engine = sa.create_engine(context.config.get_main_option("sqlalchemy.url") or "", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('batuta_migrate'))"))
        drop_functions(connection)  # they hold on to the tables' columns
        context.configure(connection=connection, target_metadata=metadata, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
        if sa.inspect(connection).has_table("steps"):
            create_functions(connection)
    engine.dispose()


run_migrations()
