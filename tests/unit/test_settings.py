from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings import SECRET, VARIABLES, Settings, document_settings

ROOT = Path(__file__).resolve().parents[2]


def test_an_empty_environment_is_a_working_one_on_loopback() -> None:
    settings = Settings.from_env({})
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8001)
    assert settings.storage.database_url == ""
    assert settings.storage.redis_url == ""
    assert (settings.studio.default_batch_ideas, settings.studio.default_num_prompts) == (5, 12)


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings.from_env({"PORT": "", "DATABASE_URL": "  "}) == Settings.from_env({})


def test_all_that_is_wrong_is_said_at_once() -> None:
    environ = {"PORT": "70000", "EXPLORATION_RATE": "nan", "TIMEZONE": "Moon/Base", "BATCH_CRON": "daily"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert {problem.split("=")[0] for problem in caught.value.problems} == set(environ)


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"DATABASE_URL": "mysql://root:hunter2@db/x"})
    assert "hunter2" not in str(caught.value)
    assert SECRET in str(caught.value)


@pytest.mark.parametrize(
    "entry", ["name", "name:client", "name:owner:12345678", "name:client:short", ":client:12345678"]
)
def test_a_token_that_cannot_be_one_is_refused(entry: str) -> None:
    with pytest.raises(SettingsError, match="API_TOKENS"):
        Settings.from_env({"API_TOKENS": entry})


def test_secrets_do_not_show_in_a_printout() -> None:
    environ = {
        "API_TOKENS": "n8n:client:token-4711-secret",
        "DATABASE_URL": "postgresql://u:pw-4711-secret@db/x",
        "REDIS_URL": "redis://:re-4711-secret@redis/0",
        "CALLBACK_SECRET": "cb-4711-secret",
        "AIRTABLE_API_KEY": "at-4711-secret",
        "OPENAI_API_KEY": "oa-4711-secret",
    }
    assert "4711" not in repr(Settings.from_env(environ))


@pytest.mark.parametrize(
    "given",
    ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg2://u@h/d"],
    ids=lambda url: url.split(":")[0],
)
def test_every_usual_way_to_write_a_postgresql_address_is_taken(given: str) -> None:
    assert Settings.from_env({"DATABASE_URL": given}).storage.database_url == "postgresql+psycopg2://u@h/d"


def test_an_unlimited_day_differs_from_a_day_of_no_dollars() -> None:
    assert Settings.from_env({}).engine.max_cost_per_day_usd is None
    assert Settings.from_env({"MAX_COST_PER_DAY_DOLLARS": "0"}).engine.max_cost_per_day_usd == Decimal(0)


def test_the_page_of_settings_is_the_one_the_program_writes() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == document_settings(), "run `make docs`"


def test_no_variable_is_named_twice_and_each_says_what_it_does() -> None:
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)
    assert all(variable.meaning.endswith((".", ")")) for variable in VARIABLES)
