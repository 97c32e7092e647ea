"""The daily batch and the manual generation as workflow documents, and what a caller is answered."""

from __future__ import annotations

from typing import Any

from app.runs.model import RunStatus, RunView
from app.studio.model import Asked
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from app.workflows.model import Workflow

SIDE_BY_SIDE = 4  # slices of a batch at once: the users' Generator runs on a small machine

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
_WANTS_PROMPTS = {"all": [_ENABLED, {"var": "settings.num_prompts", "op": ">", "value": 0}]}


def build_daily_batch(asked: Asked, *, syncs: bool, warms_up: bool) -> Workflow:
    """Write the daily batch's document.

    Args:
        asked: checked numbers.
        syncs: the base keeps structures, designers or garments.
        warms_up: the Generator is somewhere else and may be asleep.
    """
    return _build("daily", asked, syncs=syncs, warms_up=warms_up)


def build_manual_generation(asked: Asked, *, syncs: bool, warms_up: bool) -> Workflow:
    """Write a manual generation's document: a batch without ideas that does not ask whether batches are enabled."""
    return _build("manual", asked, syncs=syncs, warms_up=warms_up)


def _build(batch: str, asked: Asked, *, syncs: bool, warms_up: bool) -> Workflow:
    before: list[dict[str, Any]] = [
        {
            "id": "settings",
            "agent": "batch_settings",
            "input": {"asked": "{asked}", "batch": "{batch}"},
            "output_variable": "settings",
        }
    ]
    if syncs:
        before.append({"id": "structures", "agent": "structure_sync", "when": _ENABLED})
    before.append({"id": "learning", "agent": "learning_gate", "input": {"asked": "{asked}"}, "when": _ENABLED})
    before.append({"id": "scores", "agent": "structure_scores", "when": _ENABLED})
    if batch == "daily":
        count = {"count": "{settings.num_ideas}", "renderer": "{settings.renderer}"}
        before.append(
            {"id": "ideas", "agent": "strategist", "input": count, "output_variable": "ideas", "when": _WANTS_IDEAS}
        )
    if warms_up:
        before.append({"id": "warm_up", "agent": "generator_warm_up", "when": _WANTS_PROMPTS})
    slices = {
        "id": "prompts",
        "agent": "generator",
        "for_each": "{settings.slices}",
        "input": {"slice": "{item}", "renderer": "{settings.renderer}"},
        "output_variable": "prompts",
    }
    after = [
        {"id": "written", "agent": "prompt_writer", "output_variable": "written", "when": _WANTS_PROMPTS},
        {"id": "report", "agent": "batch_report", "input": {"batch": "{batch}"}, "output_variable": "report"},
    ]
    document = [
        {"type": "inline", "tasks": before},
        {"type": "linear", "max_concurrency": SIDE_BY_SIDE, "tasks": [slices]},
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
