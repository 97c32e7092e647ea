"""What the POST that starts a run answers with, by the run's kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.runs.explaining import plain_explanation

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.runs.model import RunView

DOLLAR_DIGITS = 6


class Answers:
    """Shape answers; each kind's own rule is registered by the composition root."""

    def __init__(self) -> None:
        self._shapes: dict[str, Callable[[RunView], dict[str, Any]]] = {}

    def register(self, kind: str, shape: Callable[[RunView], dict[str, Any]]) -> None:
        """Use `shape` for runs of a kind."""
        self._shapes[kind] = shape

    def shape(self, view: RunView) -> dict[str, Any]:
        """Write a run's answer: its kind's own fields, and for every kind `task_id` and `cost`."""
        shape = self._shapes.get(view.kind, answer_workflow)
        return {**shape(view), "task_id": view.run_id, "cost": show_cost(view)}


def show_cost(view: RunView) -> dict[str, Any]:
    """Write what a run cost; dollars to a millionth."""
    return {"tokens": view.tokens, "dollars": round(float(view.cost_usd), DOLLAR_DIGITS)}


def answer_workflow(view: RunView) -> dict[str, Any]:
    """Write a workflow's answer: every variable, and every step that failed, said so."""
    end = view.finished_at
    start = view.created_at
    return {
        "status": str(view.status),
        "result": view.variables,
        "execution_time": round((end - start).total_seconds(), 3) if end else None,
        "errors": errors_of(view),
    }


def answer_template(view: RunView) -> dict[str, Any]:
    """Write a template's answer: a workflow's, and what was left out because nothing here can make it."""
    return {**answer_workflow(view), "degraded": view.subject.get("degraded", [])}


def errors_of(view: RunView) -> list[dict[str, Any]]:
    """List the steps that failed, and those that were skipped for want of them, in journal order."""
    return [*_failures(view), *_skips(view)]


def _failures(view: RunView) -> list[dict[str, Any]]:
    return [
        {
            "step": step.key,
            "code": (step.error or {}).get("code", "failed"),
            "message": (step.error or {}).get("message", "The step failed."),
            "explanation": (step.error or {}).get("explanation") or plain_explanation(step.error),
        }
        for step in view.steps
        if step.status == "failed"
    ]


def _skips(view: RunView) -> list[dict[str, Any]]:
    return [
        {"step": step.key, "code": "skipped", "message": f"Skipped: {step.reason}.", "explanation": None}
        for step in view.steps
        if step.status == "skipped" and step.reason != "when"
    ]
