from __future__ import annotations

from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from croniter import croniter

from app.errors import SettingsError
from app.setting_variables import VARIABLES, Variable
from app.settings import SECRET, Settings, document_settings
from beat_schedule import beat_schedule

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


@pytest.mark.parametrize("text", ["abc", "0", "65536", "1.5", "nan"])
def test_a_number_that_is_none_is_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(SettingsError, match=r"PORT=.*must be a whole number from 1 to 65535"):
        Settings.from_env({"PORT": text})
    if text in {"abc", "nan"}:
        with pytest.raises(SettingsError, match=r"FILM_POLL_S=.*must be a number from"):
            Settings.from_env({"FILM_POLL_S": text})


@pytest.mark.parametrize(
    "cron", ["0 6 * *", "61 * * * *", "0 0 31 2 *", "0 0 31 4,6,9,11 *", "0 6 L * *", "0 6 * * mon#2", "H 6 * * *"]
)
def test_a_schedule_that_never_fires_or_that_celery_cannot_read_is_refused(cron: str) -> None:
    with pytest.raises(SettingsError, match="BATCH_CRON"):
        Settings.from_env({"BATCH_CRON": cron})


@pytest.mark.parametrize("cron", ["*/7 1-5/2 * * *", "0 0 29 2 *", "0 6 * jan-mar mon-fri", "0 6 * * 7", "0 6 * * SUN"])
def test_a_schedule_that_is_taken_is_one_that_beat_can_keep(cron: str) -> None:
    entry = beat_schedule(Settings.from_env({"BATCH_CRON": cron}).schedule)["daily-batch"]
    kept = entry["schedule"]
    everything = (range(60), range(24), range(1, 32), range(1, 13), range(7))
    fields_and_all = zip(croniter(cron).expanded, everything, strict=True)
    wanted = [set(every) if field == ["*"] else set(field) for field, every in fields_and_all]
    assert [kept.minute, kept.hour, kept.day_of_month, kept.month_of_year, kept.day_of_week] == wanted


def test_a_schedule_may_be_left_to_another_clock() -> None:
    entries = beat_schedule(Settings.from_env({"BATCH_CRON": "off"}).schedule)
    tasks = {entry["task"] for entry in entries.values()}
    assert "batuta.start_due_batch" not in tasks
    assert "batuta.keep_house" in tasks


def test_callbacks_that_nobody_could_check_are_refused() -> None:
    with pytest.raises(SettingsError, match="CALLBACK_SECRET"):
        Settings.from_env({"CALLBACK_ALLOWED_HOSTS": "n8n.internal"})
    signed = Settings.from_env({"CALLBACK_ALLOWED_HOSTS": "n8n.internal", "CALLBACK_SECRET": "s"})
    assert signed.engine.callback_allowed_hosts == ("n8n.internal",)


def leaves(settings: Settings) -> dict[str, Any]:
    """Every value by its place, such as `web.port`."""
    found: dict[str, Any] = {}
    for part in fields(settings):
        value = getattr(settings, part.name)
        if is_dataclass(value):
            found.update({f"{part.name}.{inner.name}": getattr(value, inner.name) for inner in fields(value)})
        else:
            found[part.name] = value
    return found


SAMPLES = {
    "HOST": "::1",
    "API_TOKENS": "n8n:client:token-4711",
    "DATABASE_URL": "postgresql://u@h/d",
    "REDIS_URL": "redis://h/3",
    "LOG_LEVEL": "DEBUG",
    "LOG_FORMAT": "json",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example",
    "TIMEZONE": "Europe/Madrid",
    "BATCH_CRON": "5 7 * * *",
    "BATCH_CATCH_UP_H": "7",
    "CALLBACK_WINDOW_H": "7",
    "STUDIO_FALLBACK": "1",
    "STUDIO_MODELS": "off",
    "STUDIO_LATENCY": "batch",
    "EXPLORATION_RATE": "0.7",
    "CATEGORY_SOURCE": "local",
    "ROUTE_HOLDOUT": "0.7",
    "ROUTE_TRIAL": "0.7",
    "ROUTE_MAX_LOSS": "0.7",
}
ABBREVIATED = {"registry_path": "ORCHESTRATION_CONFIG"}


def sample(variable: Variable) -> str:
    if variable.name in SAMPLES:
        return SAMPLES[variable.name]
    if variable.name.endswith("_URL"):
        return f"https://{variable.name.lower()}.example"
    if isinstance(variable.default, int | float):
        return str(variable.default + 1)
    return "77" if variable.default is None else variable.name


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_every_variable_fills_the_one_value_that_has_its_name(variable: Variable) -> None:
    signed = {"CALLBACK_SECRET": "signs"} if variable.name == "CALLBACK_ALLOWED_HOSTS" else {}
    before = leaves(Settings.from_env(signed))
    after = leaves(Settings.from_env({**signed, variable.name: sample(variable)}))
    (changed,) = [place for place in before if before[place] != after[place]]
    name = changed.rpartition(".")[2]
    words = set(name.replace("usd", "dollars").split("_"))
    assert words <= set(variable.name.lower().split("_")) or ABBREVIATED.get(name) == variable.name


def test_secrets_do_not_show_in_a_printout() -> None:
    environ = {
        "API_TOKENS": "n8n:client:token-4711-secret",
        "DATABASE_URL": "postgresql://u:pw-4711-secret@db/x",
        "REDIS_URL": "redis://:re-4711-secret@redis/0",
        "CALLBACK_SECRET": "cb-4711-secret",
        "AIRTABLE_API_KEY": "at-4711-secret",
        "OPENAI_API_KEY": "oa-4711-secret",
        "ANTHROPIC_API_KEY": "an-4711-secret",
        "OPENROUTER_API_KEY": "or-4711-secret",
        "GOOGLE_AI_API_KEY": "go-4711-secret",
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
