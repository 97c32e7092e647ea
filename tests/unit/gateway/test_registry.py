"""Logical names, routes and the checks of the users' file."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.errors import NotFoundError, SettingsError
from app.gateway.registry import RateLimit, Registry
from app.gateway.registry_file import load_registry, read_registry

ROOT = Path(__file__).resolve().parents[3]
TODAY = dt.date(2026, 11, 20)
USERS_NAMES = {
    *("categorizer_ai", "fast_ai", "medium_ai", "thinking_ai", "thinking_fast_response_ai", "finished_task_ai"),
    *(
        "ai_workers_failed_ai",
        "code_ai",
        "sub_master_ai",
        "image_analysis_ai",
        "image_model",
        "imagen_4_ultra",
        "veo_3_1",
    ),
}


def offer(provider: str, model: str, **more: Any) -> dict[str, Any]:
    return {"provider": provider, "model": model, "prices": {"in": 1, "out": 2}, "context": 1000, **more}


def document(**models: dict[str, Any]) -> dict[str, Any]:
    return {"api_keys": {"openai": ["OPENAI_API_KEY"], "openrouter": ["OPENROUTER_API_KEY"]}, "models": models}


def models_of(registry: Registry, name: str, **options: Any) -> list[str]:
    providers = options.pop("providers", {"openai", "openrouter"})
    return [target.offer.model for target in registry.route(name, providers, TODAY, **options).targets]


@pytest.fixture(scope="module")
def shipped() -> Registry:
    return read_registry(ROOT / "orchestration_config.json")


def test_the_shipped_file_has_the_thirteen_names_and_the_readme_s_aliases(shipped: Registry) -> None:
    assert set(shipped.models) == USERS_NAMES | {"long_context_ai", "embedding_ai"}
    assert shipped.find("research_ai").name == shipped.find("product_ai").name == "thinking_ai"
    assert {"research_ai", "product_ai"} < shipped.names


def test_every_text_model_of_the_shipped_file_is_served_by_one_openai_server(shipped: Registry) -> None:
    for model in shipped.models.values():
        targets = shipped.route(model.name, {"openai"}, TODAY).targets
        assert bool(targets) == (model.kind in {"chat", "embedding"}), model.name


def test_a_document_cannot_name_a_model_that_gives_no_answer(shipped: Registry) -> None:
    assert shipped.find("embedding_ai").kind == "embedding"
    assert "embedding_ai" not in shipped.names


def test_rates_are_read_in_the_spellings_of_such_files() -> None:
    written = document(a={"offers": [offer("openai", "a1")]})
    written["rate_limiting"] = {
        "openai": {"requestsPerMinute": 60, "tokensPerMinute": 500_000, "burstSize": 5, "requestsPerDay": 1500},
        "openrouter": {"requests_per_minute": 30, "tokens_per_minute": 1000, "burst": 2},
    }
    limits = load_registry(written).rate_limits
    assert limits == {"openai": RateLimit(60, 5, 500_000), "openrouter": RateLimit(30, 2, 1000)}
    assert limits["openai"].overridden(0, None) == RateLimit(0, 5, 500_000)
    assert limits["openai"].overridden(None, 7) == RateLimit(60, 5, 7)


def test_no_model_of_the_shipped_file_has_retired(shipped: Registry) -> None:
    assert shipped.retirements(TODAY, set(shipped.providers), within_days=0) == []


def test_the_shipped_file_holds_no_key() -> None:
    raw = json.loads((ROOT / "orchestration_config.json").read_text())

    assert all(name.isupper() for names in raw["api_keys"].values() for name in names)


def test_prices_are_read_to_the_last_digit(shipped: Registry) -> None:
    luna = next(one for one in shipped.find("fast_ai").offers if one.provider == "openai")

    assert luna.prices.rates.input == Decimal("0.1")
    assert luna.prices.rates.cache_read == Decimal("0.01")


def test_long_prompts_and_writes_to_the_cache_have_their_prices_with_openai_too(shipped: Registry) -> None:
    sol = next(one for one in shipped.find("thinking_ai").offers if one.provider == "openai")

    assert sol.prices.rates.cache_write_5m == Decimal("2.5")
    long = sol.prices.rates_for(272_001)
    assert (long.input, long.output, long.cache_read) == (Decimal(4), Decimal(15), Decimal("0.4"))


def test_a_price_that_is_known_to_change_changes_on_its_day(shipped: Registry) -> None:
    def dollars(day: dt.date) -> list[Decimal]:
        return [one.offer.prices.rates.output for one in shipped.route("image_analysis_ai", {"google_ai"}, day).targets]

    assert dollars(dt.date(2026, 12, 31)) == [Decimal("3.75")] * 2
    assert dollars(dt.date(2027, 1, 1)) == [Decimal("7.5")] * 2


def test_a_model_s_own_offers_come_before_its_fallbacks() -> None:
    registry = load_registry(
        document(
            a={"offers": [offer("openai", "a1"), offer("openrouter", "a2")], "fallbacks": ["b"]},
            b={"offers": [offer("openai", "b1")]},
        )
    )

    assert models_of(registry, "a") == ["a1", "a2", "b1"]
    assert models_of(registry, "a", providers={"openai"}) == ["a1", "b1"]


def test_fallbacks_that_point_at_each_other_end_after_each_was_named_once() -> None:
    registry = load_registry(
        document(
            a={"offers": [offer("openai", "a1")], "fallbacks": ["b", "c"]},
            b={"offers": [offer("openai", "b1")], "fallbacks": ["a", "d"]},
            c={"offers": [offer("openai", "c1")], "fallbacks": ["c", "b"]},
            d={"offers": [offer("openai", "d1")], "fallbacks": ["a"]},
        )
    )

    assert models_of(registry, "a") == ["a1", "b1", "d1", "c1"]
    assert models_of(registry, "d") == ["d1", "a1", "b1", "c1"]


def test_a_task_s_fallback_stands_in_place_of_the_registry_s() -> None:
    registry = load_registry(
        document(
            a={"offers": [offer("openai", "a1")], "fallbacks": ["b"]},
            b={"offers": [offer("openai", "b1")]},
            c={"offers": [offer("openai", "c1")], "fallbacks": ["b"], "aliases": ["see"]},
        )
    )

    assert models_of(registry, "a", fallback=("see",)) == ["a1", "c1"]
    assert models_of(registry, "a", fallback=()) == ["a1"]


def test_an_offer_is_left_out_from_the_day_it_retires_with_a_warning() -> None:
    registry = load_registry(
        document(a={"offers": [offer("openai", "old", retires_on="2026-11-20"), offer("openai", "new")]})
    )

    route = registry.route("a", {"openai"}, TODAY)

    assert [target.offer.model for target in route.targets] == ["new"]
    assert "old" in route.warnings[0]
    assert [target.offer.model for target in registry.route("a", {"openai"}, dt.date(2026, 11, 19)).targets] == [
        "old",
        "new",
    ]


def test_a_retirement_that_is_near_is_told_beforehand() -> None:
    registry = load_registry(document(a={"offers": [offer("openai", "old", retires_on="2026-11-30")]}))

    assert "retires on 2026-11-30" in registry.retirements(TODAY, {"openai"})[0]
    assert registry.retirements(TODAY, {"openrouter"}) == []


def test_a_film_is_never_answered_by_a_text_model() -> None:
    registry = load_registry(
        document(
            film={"kind": "video", "offers": [offer("openai", "f1")], "fallbacks": ["talk"]},
            talk={"offers": [offer("openai", "t1")]},
        )
    )

    assert models_of(registry, "film") == ["f1"]
    assert registry.route("film", {"openai"}, TODAY).warnings


def test_the_variables_that_would_help_are_named() -> None:
    registry = load_registry(document(a={"offers": [offer("openrouter", "x"), offer("openai", "y")]}))

    assert registry.missing_variables("a", {"openai"}, {"openai"}) == ()
    assert registry.missing_variables("a", set(), {"openai"}) == ("OPENAI_API_KEY",)
    assert registry.missing_variables("a", set(), set()) == ("OPENROUTER_API_KEY", "OPENAI_API_KEY")


def test_an_unknown_model_is_an_error_that_names_those_there_are() -> None:
    registry = load_registry(document(a={"offers": [offer("openai", "a1")]}))

    with pytest.raises(NotFoundError, match=r"gpt-9.*a"):
        registry.find("gpt-9")


def test_what_is_known_of_a_vendors_model_counts_in_every_offer_that_says_nothing_else() -> None:
    bare = {"provider": "openai", "model": "a1"}
    written = document(a={"offers": [bare]}, b={"offers": [{**bare, "context": 500, "extra": {"effort": "low"}}]})
    known = {"prices": {"in": 3, "out": 6}, "context": 1000, "retires_on": "2027-01-31", "extra": {"effort": "none"}}
    registry = load_registry({**written, "vendor_models": {"openai": {"a1": known}}})
    [first], [second] = registry.find("a").offers, registry.find("b").offers
    assert (first.prices.rates.output, first.context, dict(first.extra)) == (Decimal(6), 1000, {"effort": "none"})
    assert first.retires_on == second.retires_on == dt.date(2027, 1, 31)
    assert (second.prices, second.context, dict(second.extra)) == (first.prices, 500, {"effort": "low"})


GOOD = document(a={"offers": [offer("openai", "a1")], "aliases": ["b"]})


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["api_keys"], {"openai": "sk-secret-1234567890"}, "keys belong there"),
        (["models", "a", "offers"], [], "at least one"),
        (["models", "a", "offers", 0, "provider"], "nobody", "nobody"),
        (["models", "a", "offers", 0, "model"], None, "vendor's id"),
        (["models", "a", "offers", 0, "prices"], {"in": -1, "out": 1}, "dollars"),
        (["models", "a", "offers", 0, "prices"], {"in": 1}, "prices.out"),
        (["models", "a", "offers", 0, "prices"], None, "prices"),
        (["models", "a", "offers", 0, "retires_on"], "soon", "retires_on"),
        (["models", "a", "offers", 0, "prices_from"], {"soon": {"in": 1, "out": 1}}, "prices_from.soon must be a day"),
        (["vendor_models"], {"openai": {"a1": {"context": 0}}}, "vendor_models.openai.a1.context"),
        (["vendor_models"], {"openai": {"a2": {}}}, "vendor_models.openai.a2 stands in no model's offers"),
        (["vendor_models"], {"nobody": {}}, "vendor_models.nobody"),
        (["models", "a", "temperature"], 3, "from 0 to 2"),
        (["models", "a", "max_tokens"], 0, "1 or more"),
        (["models", "a", "fallbacks"], ["ghost"], "ghost"),
        (["models", "a", "kind"], "smell", "smell"),
        (["models", "c"], {"offers": [offer("openai", "c1")], "aliases": ["b"]}, "belongs to a"),
        (["rate_limiting"], {"nobody": {"requests_per_minute": 1}}, "nobody"),
        (["error_handling"], {"tries": {"odd": 1}}, "odd"),
        (["error_handling"], {"circuit_breaker": {"failures": 0}}, "1 or more"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(path: list[Any], value: Any, complaint: str) -> None:
    broken = copy.deepcopy(GOOD)
    inner: Any = broken
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value

    with pytest.raises(SettingsError) as caught:
        load_registry(broken)

    assert complaint in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_registry(document(a={"offers": [offer("x", "a1", context=0)], "temperature": 9}, b={"offers": []}))

    assert len(caught.value.problems) == 4


def test_a_file_that_is_missing_or_not_json_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_registry(tmp_path / "nothing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SettingsError, match="not JSON"):
        read_registry(tmp_path / "broken.json")


def test_sections_that_are_not_ours_are_left_alone() -> None:
    registry = load_registry({**GOOD, "monitoring": {"alerts": True}, "scaling": [1]})

    assert registry.find("b").name == "a"
