"""The learning cycle as a workflow document, and what its run answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.runs.model import RunView
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from app.workflows.model import Workflow

TRAIN, SCORE, INSIGHTS, TELL, WRITE, SETTLE = (
    "learning_train",
    "learning_score",
    "learning_insights",
    "learning_preferences",
    "learning_write_scores",
    "learning_settle",
)
CYCLE_AGENTS = (TRAIN, SCORE, INSIGHTS, TELL, WRITE, SETTLE)
# Training keeps a processor busy for long; it goes to the worker that does nothing else.
TRAINING_QUEUES = {"train": "learning"}
_SCORES_ANEW = {"var": "training.status", "op": "in", "value": ["trained", "kept_previous", "skipped"]}
_LEARNED = {"var": "training.status", "op": "in", "value": ["trained", "kept_previous"]}


@dataclass(frozen=True)
class CycleShape:
    """Which steps a cycle has.

    Args:
        trains_here: no Optimizer is configured, so that the training is ours.
        tells_generator: a Generator is configured and wants the scores.
        writes_scores: a base keeps the structures and shows their scores.
    """

    trains_here: bool = True
    tells_generator: bool = False
    writes_scores: bool = False


def build_learning_cycle(shape: CycleShape) -> Workflow:
    """Write the document: train, alone on its queue, then score, tell everybody, settle."""
    after: list[dict[str, Any]] = [
        {"id": "scores", "agent": SCORE, "input": {"training": "{training}"}, "when": _SCORES_ANEW},
        {"id": "insights", "agent": INSIGHTS, "output_variable": "insights", "when": _LEARNED},
    ]
    if shape.tells_generator:
        told = {"insights": "{insights}"}
        after.append({"id": "preferences", "agent": TELL, "input": told, "when": _LEARNED})
    if shape.writes_scores:
        after.append({"id": "written", "agent": WRITE, "when": _LEARNED})
    after.append({"id": "settled", "agent": SETTLE, "output_variable": "cycle"})
    document = [
        {"type": "linear", "tasks": [{"id": "train", "agent": TRAIN, "output_variable": "training"}]},
        {"type": "inline", "tasks": after},
    ]
    catalog = Catalog(models=frozenset(), agents=frozenset(CYCLE_AGENTS), tools=frozenset(), addons=frozenset())
    return parse_workflow(document, {}, catalog=catalog)


def answer_learning_cycle(view: RunView) -> dict[str, Any]:
    """Shape what `GET /runs/{id}` shows of a cycle that has ended."""
    outcome = view.variables.get("cycle")
    if isinstance(outcome, dict):
        return outcome
    return {"status": "failed", "reason": "The cycle ended before it could say what it learned.", "metrics": None}
