"""The one place where tables are collected and engines are made."""

from __future__ import annotations

import json
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
EXACT_DIGITS = 40  # of a whole number; 128 bits have 39


def dump_json(value: Any) -> str:
    """Write a JSON value for a jsonb column; Decimal is refused on purpose, dollars have columns of their own."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def read_json(text: str | bytes) -> Any:
    """Read a value of a jsonb column.

    Not by the fast reader, which makes a float of what is longer than 64 bits: an id of 80 bits must stay that id.
    """
    return json.loads(text, parse_int=_read_whole)


def _read_whole(digits: str) -> int | float:
    # PostgreSQL writes a large float out in full; 1e300 shall not come back as three hundred digits.
    return int(digits) if len(digits) <= EXACT_DIGITS else float(digits)


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
        json_deserializer=read_json,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "batuta", "options": "-c timezone=UTC"},
    )
