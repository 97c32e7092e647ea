"""How the studio's things look to a caller: JSON with ids as texts and times in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.studio.model import UNKNOWN_SCORE, Structure


def write_time(value: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC."""
    return None if value is None else value.astimezone(UTC).isoformat()


def show_structure(item: Structure, scores: Mapping[str, float], model_version: str | None) -> dict[str, Any]:
    """Show a structure with the score that serves."""
    score = scores.get(item.structure_id, scores.get(item.record_id or ""))
    return {
        "structure_id": item.structure_id,
        "record_id": item.record_id,
        "skeleton": item.skeleton,
        "renderer": item.renderer,
        "attributes": item.attributes,
        "status": item.status,
        "source": item.source,
        "parent": item.parent,
        "created_at": write_time(item.created_at),
        "score": score,
        "model_version": model_version if score is not None else None,
    }


def explain_rate(score: float) -> list[dict[str, Any]]:
    """Divide a smoothed rate into what is assumed of any structure and what was seen of this one."""
    return [
        {"feature": "assumed before anything is seen", "contribution": UNKNOWN_SCORE},
        {"feature": "likes among its prompts", "contribution": round(score - UNKNOWN_SCORE, 6)},
    ]


def show_idea(row: Mapping[str, Any]) -> dict[str, Any]:
    """Show an idea."""
    return {
        "idea_id": str(row["idea_id"]),
        "skeleton": row["skeleton"],
        "renderer": row["renderer"],
        "attributes": row["attributes"],
        "status": row["status"],
        "parent": row["parent"],
        "source": row["source"],
        "structure_id": row["structure_id"],
        "created_at": write_time(row["created_at"]),
        "decided_at": write_time(row["decided_at"]),
    }


def show_prompt(row: Mapping[str, Any]) -> dict[str, Any]:
    """Show a prompt."""
    shown = {
        **row,
        "prompt_id": str(row["prompt_id"]),
        "task_id": row["run_id"],
        "created_at": write_time(row["created_at"]),
    }
    shown.pop("run_id")
    return shown


def show_batch(row: Mapping[str, Any]) -> dict[str, Any]:
    """Show a batch."""
    outcome = row["outcome"] or {}
    return {
        "task_id": row["run_id"],
        "kind": row["kind"],
        "status": row["status"],
        "success": row["success"],
        "scheduled_for": write_time(row["firing"]),
        "started_at": write_time(row["started_at"]),
        "finished_at": write_time(row["finished_at"]),
        "request": row["request"],
        "result": outcome or None,
    }
