"""The database's schema: from nothing to the newest and back, the same as the code says."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.bootstrap import load_tables
from app.database import metadata
from app.runs.functions import read_functions
from app.schema import ROOT, SCRIPTS, upgrade_schema
from tests.conftest import Servers

FUNCTIONS = """
select cast(cast(oid as regprocedure) as text), prosrc, pg_get_function_result(oid) from pg_proc
where starts_with(proname, 'batuta_') and pronamespace = to_regnamespace('public') order by 1
"""
UPGRADE = "import sys; from app.schema import upgrade_schema; upgrade_schema(sys.argv[1])"


@pytest.fixture
def empty_url(servers: Servers) -> Iterator[str]:
    """An empty database."""
    name = f"empty_{uuid.uuid4().hex}"
    admin = sa.create_engine(servers.postgres.url_of("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f'create database "{name}"'))
        yield servers.postgres.url_of(name)
        connection.execute(sa.text(f'drop database "{name}" with (force)'))
    admin.dispose()


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def downgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.downgrade(config, revision)


def differences(url: str) -> list[Any]:
    load_tables()
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def test_an_empty_database_becomes_exactly_what_the_code_says(empty_url: str) -> None:
    upgrade_schema(empty_url)
    assert differences(empty_url) == []


def test_every_revision_can_be_undone_and_done_again(empty_url: str) -> None:
    upgrade_schema(empty_url)
    functions = ask(empty_url, FUNCTIONS)
    for revision in ScriptDirectory(str(SCRIPTS)).walk_revisions():
        downgrade(empty_url, revision.down_revision or "base")  # type: ignore[arg-type]  # one line of revisions
    tables = ask(empty_url, "select tablename from pg_tables where schemaname = 'public'")
    assert tables == [("alembic_version",)]
    upgrade_schema(empty_url)
    assert differences(empty_url) == []
    assert ask(empty_url, FUNCTIONS) == functions


def test_the_functions_in_the_database_are_those_of_the_files_and_no_others(empty_url: str) -> None:
    upgrade_schema(empty_url)
    files = "\n".join(read_functions())
    found = ask(empty_url, FUNCTIONS)
    names = {signature.partition("(")[0] for signature, _, _ in found}
    assert files.count("create or replace function batuta_") == len(found) == len(names)
    for signature, body, _ in found:
        assert body in files, f"{signature} is not what its file says"


def test_a_function_that_was_changed_or_is_gone_from_the_files_does_not_stay(empty_url: str) -> None:
    upgrade_schema(empty_url)
    functions = ask(empty_url, FUNCTIONS)
    ask(empty_url, "create function batuta_of_long_ago() returns int language sql as 'select 1'")
    ask(empty_url, "drop function batuta_no_effects")
    ask(empty_url, "create function batuta_no_effects() returns int language sql as 'select 1'")
    upgrade_schema(empty_url)
    assert ask(empty_url, FUNCTIONS) == functions


def test_an_upgrade_keeps_what_callers_built_on_the_ledgers_view(empty_url: str) -> None:
    upgrade_schema(empty_url)
    ask(empty_url, 'create view my_report as select "userId", sum("costDollars") from cost_tracking group by 1')
    upgrade_schema(empty_url)
    assert ask(empty_url, "select * from my_report") == []


def test_upgrades_at_once_do_it_once(empty_url: str) -> None:
    upgrades = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, empty_url], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)
    ]
    errors = [upgrade.communicate(timeout=60)[1].decode() for upgrade in upgrades]
    assert [upgrade.returncode for upgrade in upgrades] == [0, 0], errors
    assert differences(empty_url) == []
    assert len(ask(empty_url, "select version_num from alembic_version")) == 1


def test_there_is_one_line_of_revisions() -> None:
    assert len(ScriptDirectory(str(SCRIPTS)).get_heads()) == 1
