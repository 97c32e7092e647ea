"""`make try`: nothing of the user's own may be touched, and what it promises must be something the system takes."""

from __future__ import annotations

import json

from app.chat.prompts import PLAN as ASKS_FOR_A_PLAN
from app.chat.written import CheckedPlans, PlannedModel
from app.settings import Settings
from simulator import Simulator
from simulator.trial import PLAN, PLANNER, trial_environment

OWN = {
    "PORT": "18001",
    "FILM_POLL_S": "1",
    "DATABASE_URL": "postgresql://me@host/real",
    "REDIS_URL": "redis://host/0",
    "AIRTABLE_API_KEY": "pat-real",
    "AIRTABLE_BASE_ID": "appReal",
    "STRATEGIST_SERVICE_URL": "https://strategist.host",
    "GENERATOR_SERVICE_URL": "https://generator.host",
    "OPTIMIZER_SERVICE_URL": "https://optimizer.host",
    "OPENAI_API_KEY": "sk-real",
    "OPENROUTER_API_KEY": "sk-or-real",
    "ANTHROPIC_API_KEY": "sk-ant-real",
    "GOOGLE_AI_API_KEY": "AIza-real",
}


def trial(environ: dict[str, str]) -> dict[str, str]:
    simulator = Simulator()
    simulator.base_url = "http://127.0.0.1:9100"  # as if it ran
    return trial_environment(environ, simulator)


def test_a_trial_reaches_no_vendor_no_base_and_no_database_of_the_users() -> None:
    settings = Settings.from_env(trial(OWN))
    assert not settings.storage.database_url
    assert not settings.storage.redis_url
    assert not settings.airtable.configured
    studio = settings.studio
    assert (studio.optimizer_url, studio.strategist_url, studio.generator_url) == ("", "", "")
    assert "real" not in json.dumps(trial(OWN))
    assert settings.storage.data_dir.parts[-2:] == ("var", "try")


def test_what_the_user_sets_wins_over_what_makes_a_trial_easy() -> None:
    environment = trial(OWN)
    assert (environment["PORT"], environment["FILM_POLL_S"]) == ("18001", "1")


def test_the_plan_of_a_trial_is_one_that_the_system_takes() -> None:
    assert ASKS_FOR_A_PLAN.startswith(PLANNER)
    models = {name: PlannedModel("", "chat") for name in ("medium_ai", "thinking_ai")}
    taken = CheckedPlans(lambda: models, frozenset).read(json.dumps(PLAN), "A campaign for a bottle")
    assert len(taken.blocks) == 2
