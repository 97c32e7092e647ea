"""Receipts' prices, from the registry that ships."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.chat.pricing import RegistryPrices
from app.gateway.model import ModelAnswer, Usage
from app.gateway.registry import Registry
from app.gateway.registry_file import read_registry

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return read_registry(ROOT / "orchestration_config.json")


def prices(registry: Registry, *providers: str) -> RegistryPrices:
    return RegistryPrices(lambda: registry, lambda: providers)


def answer(model: str, **usage: Any) -> ModelAnswer:
    return ModelAnswer("said", None, model, "openai", "x", Usage(**usage), Decimal("0.001"), "stop")


def test_the_same_tokens_are_priced_at_the_other_models_rates(registry: Registry) -> None:
    said = answer("medium_ai", input_tokens=1_000_000, output_tokens=100_000)
    # gpt-6-sol: 4 and 15 dollars a million, for prompts of this length
    assert prices(registry, "openai").same_tokens_usd("thinking_ai", said) == Decimal("5.500000")


def test_tokens_read_from_a_cache_count_as_read_anew_at_the_other_model(registry: Registry) -> None:
    fresh = answer("medium_ai", input_tokens=1000, output_tokens=10)
    cached = answer("medium_ai", input_tokens=100, cache_read_tokens=900, output_tokens=10)
    table = prices(registry, "openai")
    assert table.same_tokens_usd("thinking_ai", fresh) == table.same_tokens_usd("thinking_ai", cached)


def test_an_answer_of_the_strong_model_saves_nothing_against_itself(registry: Registry) -> None:
    said = answer("thinking_ai", input_tokens=1000, output_tokens=10)
    assert prices(registry, "openai").same_tokens_usd("thinking_ai", said) == said.cost_usd


def test_nothing_is_promised_of_a_model_that_nobody_serves(registry: Registry) -> None:
    table = prices(registry)
    assert not table.available("medium_ai")
    assert table.estimate_usd("medium_ai", 1000) == 0
    assert prices(registry, "openai").available("medium_ai")
    assert prices(registry, "openai").estimate_usd("medium_ai", 1000) > 0
