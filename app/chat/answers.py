"""What a chat's caller is answered: at once, and when all of it has ended."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from app.chat.model import FIRST_STEP, Category
from app.runs.answers import errors_of, show_cost

if TYPE_CHECKING:
    from app.runs.model import RunView, StepView

OWN_STEPS = frozenset({FIRST_STEP, "plan", "report"})


def answer_first(view: RunView) -> dict[str, Any] | None:
    """Shape what the POST is answered once the first step has ended; None when it did not complete."""
    first = _step(view, FIRST_STEP)
    if first is None or first.status != "completed" or not isinstance(first.output, dict):
        return None
    answer = {**_shown(first.output), "task_id": view.run_id, "cost": show_cost(view)}
    if answer["category"] == Category.H:
        address = f"/runs/{view.run_id}"
        answer |= {"status": str(view.status), "status_url": address, "events_url": f"{address}/events"}
    return answer


def answer_chat(view: RunView) -> dict[str, Any]:
    """Shape the whole: for L and M what the POST was answered, for H what came of the plan."""
    first = answer_first(view)
    if first is None:
        nothing = {"response": None, "category": None, "model_used": None, "timestamp": None, "route": None}
        return {"session_id": view.subject.get("session_id"), **nothing, "status": str(view.status),
                "errors": errors_of(view)}  # fmt: skip
    if first["category"] != Category.H:
        return first
    report = _step(view, "report")
    told = report.output if report is not None and isinstance(report.output, dict) else {}
    return {
        **first,
        "acknowledgement": first["response"],
        "response": told.get("response") or f"The work ended as {view.status}; it was not told by any model.",
        "model_used": told.get("model_used") or first["model_used"],
        "status": _status(view, told),
        "result": _parts(view),
        "errors": errors_of(view),
    }


def answer_warm_up(view: RunView) -> dict[str, Any]:
    """Shape what a warm-up did."""
    step = view.steps[0]
    return {"status": str(view.status), "done": (step.output or {}).get("done", []) if step.output else []}


def _status(view: RunView, told: dict[str, Any]) -> str:
    """Say how the work ended; the acknowledgement alone makes nothing of it complete."""
    if str(view.status) in {"completed", "partial"}:
        return str(told.get("status") or ("failed" if view.status == "partial" else view.status))
    return str(view.status)


def _parts(view: RunView) -> dict[str, Any]:
    return {name: value for name, value in view.variables.items() if name != "user_message"}


def _step(view: RunView, key: str) -> StepView | None:
    return next((step for step in view.steps if step.key == key), None)


def _shown(output: dict[str, Any]) -> dict[str, Any]:
    route = {
        name: float(Decimal(value)) if name.endswith("_dollars") else value for name, value in output["route"].items()
    }
    return {**output, "route": route}
