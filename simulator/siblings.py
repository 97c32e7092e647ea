"""The three services that users may already run: Optimizer, Strategist, Generator, each below its own prefix."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
from typing import Any

from aiohttp import web

from simulator.sibling_services import Siblings
from simulator.state import STATE

MOST_NAMES = 20
_IDEAS = itertools.count(1)


def routes() -> list[web.RouteDef]:
    """List the routes of all three."""
    return [
        web.get("/optimizer/health", _optimizer_health),
        web.post("/optimizer/train", _train),
        web.post("/optimizer/score_structures", _score),
        web.get("/optimizer/structure_prompt_insights", _insights),
        web.get("/strategist/api/health", _health("prompt-strategist")),
        web.post("/strategist/api/batch/run", _run_batch),
        web.get("/generator/health", _generator_health),
        web.post("/generator/generate-prompts", _generate),
        web.post("/generator/update_preferences", _update_preferences),
    ]


def _siblings(request: web.Request) -> Siblings:
    return request.app[STATE].siblings


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()


async def _json(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    try:
        body = json.loads(text) if text else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPUnprocessableEntity(
            text=json.dumps({"detail": "not a JSON object"}), content_type="application/json"
        )
    return body


def _refuse(status: int, body: dict[str, Any]) -> web.Response:
    return web.json_response(body, status=status)


def _health(service: str) -> Any:
    async def run(_request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy", "service": service})

    return run


async def _optimizer_health(_request: web.Request) -> web.Response:
    return web.json_response(
        {"status": "healthy", "service": "optimizer", "version": "1.0.0", "model_loaded": True, "last_trained": _now()}
    )


async def _train(request: web.Request) -> web.Response:
    """Answer 200 whatever the status in the body says, as the original does."""
    optimizer = _siblings(request).optimizer
    await asyncio.sleep(optimizer.delay_s)
    return web.json_response({"trained_at": _now(), **optimizer.train})


async def _score(request: web.Request) -> web.Response:
    optimizer = _siblings(request).optimizer
    await asyncio.sleep(optimizer.delay_s)
    filler = {
        "top_positive_attributes": [],
        "top_negative_attributes": [],
        "current_outlier_count": 0,
        "current_z_score": 0.0,
        "renderer": "ImageFX",
        "skeleton_preview": "",
        "warning": None,
    }
    return web.json_response(
        {
            "structures": [{**filler, **structure} for structure in optimizer.structures],
            "global_preference_vector": dict(list(optimizer.preference.items())[:MOST_NAMES]),
            "model_metadata": {"trained_at": _now(), "training_samples": 240, "auc_score": 0.74},
            "warning": None,
        }
    )


async def _insights(request: web.Request) -> web.Response:
    insights = _siblings(request).optimizer.insights
    if insights is None:
        return web.json_response({"status": "not_computed", "message": "train first"})
    return web.json_response({"status": "computed", "structure_count": len(insights), "insights": insights})


async def _run_batch(request: web.Request) -> web.Response:
    strategist = _siblings(request).strategist
    await asyncio.sleep(strategist.delay_s)
    if strategist.settings_missing:
        return _refuse(400, {"error": "No settings record found"})
    if strategist.disabled:
        return _refuse(400, {"error": "Batch generation is disabled"})
    ideas = [_idea(next(_IDEAS)) for _ in range(strategist.ideas)]
    return web.json_response({"ideas": ideas, "totalGenerated": len(ideas), "timestamp": _now()})


def _idea(number: int) -> dict[str, Any]:
    return {
        "id": f"recIdea{number:010d}",
        "ideaId": number,
        "structureId": None,
        "structureRecordId": None,
        "renderer": "ImageFX",
        "skeleton": f"[designer] [garment] seen from angle {number}",
        "status": "Proposed",
        "reward": 0.5,
        "rating": None,
        "parent": 1,
        "parentRecordId": None,
        "createdAt": _now(),
        "proposedBy": "LLM",
    }


async def _generator_health(request: web.Request) -> web.Response:
    preferences = _siblings(request).generator.preferences
    return web.json_response(
        {
            "status": "healthy",
            "preferences_loaded": bool(preferences),
            "structure_scores_loaded": len(preferences.get("structure_scores") or {}),
            "structure_insights_loaded": len(preferences.get("structure_prompt_insights") or {}),
            "exploration_rate": preferences.get("exploration_rate", 0.2),
        }
    )


async def _generate(request: web.Request) -> web.Response:
    generator, body = _siblings(request).generator, await _json(request)
    await asyncio.sleep(generator.delay_s)
    count, renderer = body.get("num_prompts"), body.get("renderer")
    if (
        not isinstance(count, int)
        or isinstance(count, bool)
        or count <= 0
        or not isinstance(renderer, str)
        or not renderer
    ):
        return _refuse(
            422,
            {
                "detail": [
                    {"loc": ["body"], "msg": "num_prompts above 0 and a renderer are required", "type": "value_error"}
                ]
            },
        )
    prompts = []
    for _ in range(max(0, count - generator.short_by)):
        generator.made += 1
        text = f"Prompt {generator.made}: a linen coat in soft backlight"
        prompts.append(text if generator.as_text else _prompt(generator.made, text, renderer))
    return web.json_response({"prompts": prompts})


def _prompt(number: int, text: str, renderer: str) -> dict[str, Any]:
    return {
        "promptText": text,
        "designerId": f"recDesigner{number % 3:06d}",
        "garmentId": f"recGarment{number % 5:07d}",
        "promptStructureId": f"recStructure{number % 3:05d}",
        "renderer": renderer,
    }


async def _update_preferences(request: web.Request) -> web.Response:
    generator, body = _siblings(request).generator, await _json(request)
    vector = body.get("global_preference_vector")
    if not isinstance(vector, dict) or not all(isinstance(value, int | float) for value in vector.values()):
        return _refuse(
            422,
            {
                "detail": [
                    {"loc": ["body", "global_preference_vector"], "msg": "a map of numbers", "type": "value_error"}
                ]
            },
        )
    generator.preferences = body
    return web.json_response(
        {
            "status": "success",
            "preferences_count": len(vector),
            "exploration_rate": min(1.0, max(0.0, float(body.get("exploration_rate", 0.2)))),
            "structures_with_scores": len(body.get("structure_scores") or {}),
            "structures_with_insights": len(body.get("structure_prompt_insights") or {}),
            "message": "Preferences updated",
        }
    )
