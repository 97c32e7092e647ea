"""The daily batch and the manual generation as workflow documents, and what a caller is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.runs.model import RunStatus, RunView
from app.studio.model import SLICE_SIZE, Asked, Numbers, cut_slices
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from app.workflows.model import Latency, Workflow

SIDE_BY_SIDE = 4  # slices of a batch at once: the users' Generator runs on a small machine
MODEL_SIDE_BY_SIDE = 8  # under the burst of ten that providers' rates allow, so that a person's chat gets through

AGENT_NAMES = (
    "batch_settings",
    "structure_sync",
    "learning_gate",
    "structure_scores",
    "strategist",
    "generator_warm_up",
    "generator",
    "prompt_writer",
    "batch_report",
)

_ENABLED = {"var": "settings.enabled", "op": "==", "value": True}
_WANTS_IDEAS = {"all": [_ENABLED, {"var": "settings.num_ideas", "op": ">", "value": 0}]}
_WANTS_SLICES = {"all": [_ENABLED, {"var": "settings.num_prompts", "op": ">", "value": SLICE_SIZE}]}
_WANTS_PROMPTS = {"all": [_ENABLED, {"var": "settings.num_prompts", "op": ">", "value": 0}]}


@dataclass(frozen=True)
class BatchShape:
    """What a batch's document depends on beside the request.

    Args:
        syncs: the base keeps structures, designers or garments.
        warms_up: the Generator is somewhere else and may be asleep.
        warms_cache: a model writes the prompts whose vendor keeps in its cache what was asked before.
        side_by_side: slices at once; None for all.
        latency: `batch` lets vendors take their time, at a lower price.
        foreseen: the numbers a batch would have, for an estimate: only the settings step knows them.
    """

    syncs: bool = False
    warms_up: bool = False
    warms_cache: bool = False
    side_by_side: int | None = SIDE_BY_SIDE
    latency: Latency = "live"
    foreseen: Numbers | None = None


def build_daily_batch(asked: Asked, shape: BatchShape) -> Workflow:
    """Write the daily batch's document; its numbers are checked."""
    return _build("daily", asked, shape)


def build_manual_generation(asked: Asked, shape: BatchShape) -> Workflow:
    """Write a manual generation's document: a batch without ideas that does not ask whether batches are enabled."""
    return _build("manual", asked, shape)


def _build(batch: str, asked: Asked, shape: BatchShape) -> Workflow:
    before: list[dict[str, Any]] = [
        {
            "id": "settings",
            "agent": "batch_settings",
            "input": {"asked": "{asked}", "batch": "{batch}"},
            "output_variable": "settings",
        }
    ]
    if shape.syncs:
        before.append({"id": "structures", "agent": "structure_sync", "when": _ENABLED})
    before.append({"id": "learning", "agent": "learning_gate", "input": {"asked": "{asked}"}, "when": _ENABLED})
    before.append({"id": "scores", "agent": "structure_scores", "when": _ENABLED})
    if batch == "daily":
        number = "{settings.num_ideas}" if shape.foreseen is None else shape.foreseen.num_ideas
        count = {"count": number, "renderer": "{settings.renderer}"}
        before.append(
            {"id": "ideas", "agent": "strategist", "input": count, "output_variable": "ideas", "when": _WANTS_IDEAS}
        )
    if shape.warms_up or (shape.warms_cache and shape.latency == "live"):
        when = _WANTS_PROMPTS if shape.warms_up else _WANTS_SLICES
        renderer = {"renderer": "{settings.renderer}"}
        before.append({"id": "warm_up", "agent": "generator_warm_up", "input": renderer, "when": when})
    slices = {
        "id": "prompts",
        "agent": "generator",
        "for_each": "{settings.slices}" if shape.foreseen is None else cut_slices(shape.foreseen.num_prompts),
        "input": {"slice": "{item}", "renderer": "{settings.renderer}"},
        "output_variable": "prompts",
    }
    after = [
        {"id": "written", "agent": "prompt_writer", "output_variable": "written", "when": _WANTS_PROMPTS},
        {"id": "report", "agent": "batch_report", "input": {"batch": "{batch}"}, "output_variable": "report"},
    ]
    slots = {} if shape.side_by_side is None else {"max_concurrency": shape.side_by_side}
    document = [
        {"type": "inline", "tasks": before, "latency": shape.latency},
        {"type": "linear", "tasks": [slices], "latency": shape.latency, **slots},
        {"type": "inline", "tasks": after},
    ]
    catalog = Catalog(models=frozenset(), agents=frozenset(AGENT_NAMES), tools=frozenset(), addons=frozenset())
    return parse_workflow(document, {"asked": asked.to_json(), "batch": batch}, catalog=catalog)


def answer_daily_batch(view: RunView) -> dict[str, Any]:
    """Shape what `POST /events/daily_batch` answers once the run has ended."""
    return _report_of(view, {"ideas_generated": 0, "summary": ""})


def answer_manual_generation(view: RunView) -> dict[str, Any]:
    """Shape what `POST /events/manual_generate` answers once the run has ended."""
    return _report_of(view, {"renderer": (view.variables.get("asked") or {}).get("renderer") or ""})


def _report_of(view: RunView, own: dict[str, Any]) -> dict[str, Any]:
    report = view.variables.get("report")
    if isinstance(report, dict):
        return report
    unmade = {"success": False, "retrain_triggered": False, "prompts_generated": 0, "prompts_written": 0}
    return {**unmade, **own, "error": _explain_end(view), "degraded": []}


def _explain_end(view: RunView) -> str:
    """Say why a run has no report; an error's own text is shown only where it is meant for readers."""
    if view.status is RunStatus.CANCELLED:
        return "The batch was cancelled."
    failed = next((step.error for step in view.steps if step.error and step.error.get("code") != "fatal"), None)
    error = view.error or failed or {}
    return str(error.get("message") or "The batch did not reach its report.")
