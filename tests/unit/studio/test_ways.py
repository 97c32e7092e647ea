"""Which way the studio's parts are made, and what models will be asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.gateway.registry import Target
from app.gateway.registry_file import read_registry
from app.schema import ROOT
from app.settings import Settings
from app.studio.batch import BatchShape, build_daily_batch
from app.studio.model import Asked, Numbers
from app.studio.ways import NO_MODELS, ModelWays, find_ways, foresee
from app.workflows.model import Task

REGISTRY = read_registry(ROOT / "orchestration_config.json")
BOTH = ModelWays(ideas=True, prompts=True)


def ways(*providers: str, **variables: str) -> ModelWays:
    def target_of(name: str) -> Target | None:
        offers = REGISTRY.find(name).offers
        return next((Target(REGISTRY.find(name), offer) for offer in offers if offer.provider in providers), None)

    return find_ways(Settings.from_env(variables).studio, target_of)


def tasks(numbers: Numbers) -> dict[str, Task]:
    workflow = build_daily_batch(Asked(), BatchShape(foreseen=numbers))
    return {task.target: task for task in workflow.tasks()}


def test_a_configured_provider_makes_models_the_way() -> None:
    assert ways("openai") == BOTH
    assert ways("anthropic") == replace(BOTH, caches=True)
    assert ways() == NO_MODELS


def test_a_service_goes_before_models_part_by_part() -> None:
    assert ways("openai", STRATEGIST_SERVICE_URL="http://127.0.0.1:3001") == ModelWays(prompts=True)
    assert ways("anthropic", GENERATOR_SERVICE_URL="http://127.0.0.1:3002") == ModelWays(ideas=True)


def test_models_can_be_switched_off() -> None:
    assert ways("anthropic", STUDIO_MODELS="off") == NO_MODELS


def test_a_batch_warms_the_cache_only_where_it_pays() -> None:
    def targets(shape: BatchShape) -> list[str]:
        return [task.target for task in build_daily_batch(Asked(), shape).tasks()]

    assert "generator_warm_up" not in targets(BatchShape())
    assert "generator_warm_up" in targets(BatchShape(warms_cache=True))
    assert "generator_warm_up" not in targets(BatchShape(warms_cache=True, latency="batch"))


@pytest.mark.parametrize(("prompts", "each"), [(7, 7), (10, 10), (95, 10)])
def test_a_slice_is_foreseen_by_its_prompts(prompts: int, each: int) -> None:
    task = tasks(Numbers(5, prompts, "ImageFX"))["generator"]
    foreseen = foresee(task, BOTH, 16)
    assert foreseen is not None
    assert foreseen.model == "medium_ai"
    assert foreseen.most_tokens == 2000 + 350 * each


def test_ideas_are_foreseen_by_their_number_and_the_catalogues_size() -> None:
    task = tasks(Numbers(5, 12, "ImageFX"))["strategist"]
    few, many = foresee(task, BOTH, 16), foresee(task, BOTH, 200)
    assert few is not None
    assert many is not None
    assert (few.model, few.most_tokens) == ("thinking_ai", 6000 + 400 * 5)
    assert few.prompt_chars < many.prompt_chars
    assert foresee(tasks(Numbers(0, 12, "ImageFX"))["strategist"], BOTH, 16) is None
    assert foresee(task, NO_MODELS, 16) is None
