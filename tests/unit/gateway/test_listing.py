from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from app.commands.models import print_models
from app.gateway.listing import ListedModel, Surroundings, list_models
from app.gateway.registry import Registry
from app.gateway.registry_file import load_registry, read_registry
from app.settings import Settings

TODAY = dt.date(2026, 11, 20)
SHIPPED = read_registry(Path(__file__).parents[3] / "orchestration_config.json")
OF_THE_USERS_DOCUMENT = {
    "categorizer_ai", "fast_ai", "medium_ai", "thinking_ai", "thinking_fast_response_ai", "finished_task_ai",
    "ai_workers_failed_ai", "code_ai", "sub_master_ai", "image_analysis_ai", "image_model", "imagen_4_ultra", "veo_3_1",
}  # fmt: skip
PRICE = {"in": 1, "out": 2}


def offer(provider: str, model: str, retires_on: str | None = None) -> dict[str, Any]:
    return {"provider": provider, "model": model, "prices": PRICE, "retires_on": retires_on}


def registry(**models: Any) -> Registry:
    return load_registry({"api_keys": {"here": "HERE_KEY", "there": "THERE_KEY"}, "models": models})


def listed(of: Registry, *providers: str) -> dict[str, ListedModel]:
    return {
        one.model.name: one for one in list_models(of, Surroundings(providers, ("here", "there"), ("chat",), TODAY))
    }


def test_the_shipped_models_are_the_users_thirteen_and_one_for_long_prompts() -> None:
    names = [one.to_json()["name"] for one in list_models(SHIPPED, Surroundings((), ("openai",), ("chat",), TODAY))]
    assert set(names) == OF_THE_USERS_DOCUMENT | {"long_context_ai"}
    assert len(names) == 14


def test_every_model_that_answers_in_text_is_told_what_it_is_for() -> None:
    told = {name for name, model in SHIPPED.models.items() if model.system_prompt}
    assert told == {name for name, model in SHIPPED.models.items() if model.kind == "chat"}
    assert all("{" not in model.system_prompt for model in SHIPPED.models.values())


def test_who_would_serve_a_call_now_is_shown_with_its_prices() -> None:
    both = registry(a={"offers": [offer("there", "best"), offer("here", "second")], "aliases": ["alias"]})
    shown = listed(both, "here")["a"].to_json()
    assert (shown["provider"], shown["model"], shown["available"]) == ("here", "second", True)
    assert shown["aliases"] == ["alias"]
    assert shown["prices"] == {"in": 1, "out": 2, "cache_write_5m": 1, "cache_write_1h": 1, "cache_read": 1}


def test_prices_are_those_of_the_day_also_of_what_nobody_serves_yet() -> None:
    dear = {**offer("there", "best"), "prices_from": {"2026-11-01": {"in": 5, "out": 6}}}
    assert listed(registry(a={"offers": [dear]}))["a"].to_json()["prices"]["in"] == 5


def test_a_model_nobody_serves_names_what_to_set() -> None:
    shown = listed(registry(a={"offers": [offer("there", "best")]}))["a"].to_json()
    assert (shown["available"], shown["missing"], shown["model"]) == (False, ["THERE_KEY"], "best")


def test_a_stand_in_is_named() -> None:
    pair = registry(a={"offers": [offer("there", "x")], "fallbacks": ["b"]}, b={"offers": [offer("here", "y")]})
    shown = listed(pair, "here")["a"].to_json()
    assert (shown["available"], shown["stand_in"], shown["model"]) == (True, "b", "y")


def test_a_retirement_is_warned_of_a_month_before_and_the_next_offer_serves_from_the_day() -> None:
    soon = registry(a={"offers": [offer("here", "old", "2026-12-01"), offer("here", "new")]})
    assert listed(soon, "here")["a"].warnings == ("old of here retires on 2026-12-01",)
    assert listed(soon, "here")["a"].to_json()["retires_on"] == "2026-12-01"
    gone = registry(a={"offers": [offer("here", "old", "2026-11-20"), offer("here", "new")]})
    assert listed(gone, "here")["a"].warnings == ("old of here retired on 2026-11-20",)
    assert listed(gone, "here")["a"].to_json()["model"] == "new"


def test_a_distant_retirement_and_one_of_a_vendor_nobody_uses_are_no_warning() -> None:
    far = registry(a={"offers": [offer("here", "x", "2027-12-01"), offer("there", "y", "2026-11-21")]})
    assert listed(far, "here")["a"].warnings == ()


def test_media_have_prices_of_their_own() -> None:
    painter = {"kind": "image", "offers": [{**offer("here", "x"), "prices": {"per_image": 0.134}}]}
    prices = listed(registry(a=painter), "here")["a"].to_json()["prices"]
    assert (prices["per_image"], prices["in"]) == (0.134, None)


def test_what_no_step_can_make_here_is_not_available_though_its_vendor_is() -> None:
    painter = {"kind": "image", "offers": [{**offer("here", "x"), "prices": {"per_image": 0.134}}]}
    shown = listed(registry(a=painter), "here")["a"].to_json()
    assert (shown["available"], shown["missing"]) == (False, [])


def test_the_command_prints_every_model_and_what_is_missing() -> None:
    console = Console(width=160, record=True, quiet=False, file=open_nothing())
    print_models(Settings.from_env({"DATABASE_URL": "", "REDIS_URL": ""}), console)
    text = console.export_text()
    assert all(name in text for name in OF_THE_USERS_DOCUMENT)
    assert "OPENROUTER_API_KEY" in text
    assert "also research_ai, product_ai" in text


@pytest.mark.parametrize("key", ["OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"])
def test_one_key_serves_all_that_answers_in_words_and_what_serves_the_rest_is_said(key: str) -> None:
    console = Console(width=160, record=True, file=open_nothing())
    print_models(Settings.from_env({key: "k"}), console)
    missing = [line for line in console.export_text().splitlines() if line.startswith("not served")]
    assert missing == ["not served  imagen_4_ultra, veo_3_1: set GOOGLE_AI_API_KEY"]


def open_nothing() -> Any:
    import io

    return io.StringIO()
