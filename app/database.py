"""The one place where tables are collected and engines are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

if TYPE_CHECKING:
    from app.settings import StorageSettings

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMING)

CONNECT_TIMEOUT_S = 5


def dump_json(value: Any) -> str:
    """Write a JSON value for a jsonb column; Decimal is refused on purpose, dollars have columns of their own."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def create_engine(storage: StorageSettings) -> sa.Engine:
    """Make the process's pool of connections.

    Args:
        storage: `database_url` must be set; `pool_size` connections are kept, none beyond them.

    Returns:
        An engine that tests a connection before it lends it, so that a restarted server costs one retry and no error.
    """
    return sa.create_engine(
        storage.database_url,
        pool_size=storage.pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        json_serializer=dump_json,
        json_deserializer=orjson.loads,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "batuta", "options": "-c timezone=UTC"},
    )
