"""Turn a parsed workflow into the journal's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.workflows.graph import sources
from app.workflows.model import Block, BlockType, Workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.runs.model import RunRequest
    from app.runs.ports import Grown

WINDOW = 200  # steps of one block that may be in the queues at once, so that one run never fills them


def submission_rows(
    run_id: str, request: RunRequest, origin: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """Write a run, its blocks and its steps as `batuta_submit` reads them.

    Args:
        run_id: the new run's.
        request: what to run.
        origin: the request it comes from, and the trace it goes on in; empty facts are left out.

    Returns:
        The run's row, the blocks' rows, the steps' rows; amounts as text, so that no float touches money.
    """
    workflow = request.workflow
    run = {
        "run_id": run_id,
        "kind": request.kind,
        "owner": request.owner,
        "priority": str(request.priority),
        "subject": request.subject,
        "max_cost_usd": None if request.max_cost_usd is None else str(request.max_cost_usd),
        "callback_url": request.callback_url,
        "origin": {name: fact for name, fact in (origin or {}).items() if fact} or None,
        "document": _document(workflow),
        "variables": workflow.variables,
    }
    blocks = [_block_row(block) for block in workflow.blocks]
    steps = [row for block in workflow.blocks for row in _step_rows(block)]
    for row in steps:
        usual = f"{row.pop('shape')}.{request.priority}"
        row["queue"] = request.queues.get(row["key"], usual)
    return run, blocks, steps


def growth_rows(grown: Grown) -> dict[str, Any]:
    """Write what a step adds to its run as `batuta_grow` reads it; blocks are counted from the one after the step's."""
    return {
        "blocks": [_block_row(block) for block in grown.blocks],
        "steps": [row for block in grown.blocks for row in _step_rows(block)],
        "variables": dict(grown.variables),
    }


def _document(workflow: Workflow) -> dict[str, Any]:
    return {
        "blocks": [{"type": str(block.type), "tasks": [task.key for task in block.tasks]} for block in workflow.blocks]
    }


def _block_row(block: Block) -> dict[str, Any]:
    places = 1 if block.type is BlockType.INLINE else min(WINDOW, block.max_concurrency or WINDOW)
    return {
        "block": block.index,
        "type": str(block.type),
        "latency": block.latency,
        "remaining": len(block.tasks),
        "places": places,
    }


def _step_rows(block: Block) -> list[dict[str, Any]]:
    shape = "inline" if block.type is BlockType.INLINE else "linear"
    follows = _edges(block)
    dependents: dict[str, list[str]] = {task.key: [] for task in block.tasks}
    for key, needed in follows.items():
        for other in needed:
            dependents[other].append(key)
    ancestors = sources(block) if block.type is BlockType.GRAPH else {}
    return [
        {
            "key": task.key,
            "block": block.index,
            "position": position,
            "kind": task.kind,
            "target": task.target if task.kind != "approval" else "",
            "task": task.to_json(),
            "reads": sorted(task.reads()),
            "ancestors": sorted(ancestors.get(task.key, ())),
            "dependents": dependents[task.key],
            "deps_left": len(follows[task.key]),
            "output_variable": task.output_variable,
            "shape": shape,
        }
        for position, task in enumerate(block.tasks)
    ]


def _edges(block: Block) -> dict[str, tuple[str, ...]]:
    """Which keys each task waits for: the one before it, none, or what it declares."""
    if block.type is BlockType.INLINE:
        keys = [task.key for task in block.tasks]
        return {key: (keys[place - 1],) if place else () for place, key in enumerate(keys)}
    if block.type is BlockType.GRAPH:
        return {task.key: tuple(dict.fromkeys(task.depends_on)) for task in block.tasks}
    return {task.key: () for task in block.tasks}
