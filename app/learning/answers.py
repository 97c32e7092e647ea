"""What `GET /runs/{id}` shows of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.runs.model import RunView


def answer_training(view: RunView) -> dict[str, Any]:
    """Shape what is shown of a training that has ended."""
    outcome = view.variables.get("training")
    if isinstance(outcome, dict):
        return outcome
    return {"status": "failed", "reason": "The training did not end well; the run's step shows why.", "metrics": None}
