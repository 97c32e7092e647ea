"""Foretell what running a workflow would cost and how long it would take, without calling anything (`dry_run`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.workflows.conditions import holds, names_in_condition
from app.workflows.model import Block, BlockType, Task, Workflow
from app.workflows.schedule import Job, makespan_s
from app.workflows.spreads import Spread, slowest_of, total_of
from app.workflows.variables import lookup, names_in

Figure = Callable[[Task, Block], Spread]
"""What one run of a task takes; one item of it, for a `for_each`. The block says whether a vendor may take its time."""


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """One task of the document.

    Args:
        key: the task's.
        kind: model, agent, tool or approval.
        model: the model's logical name; None where no model is named.
        estimated_dollars: median, all items of a `for_each` together; 0 for what `when` rules out beforehand.
        estimated_seconds: median, from its start to the end of its last item.
    """

    key: str
    kind: str
    model: str | None
    estimated_dollars: float
    estimated_seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A whole workflow.

    Args:
        steps: in the document's order; those of a graph in an order they can run in.
        dollars: of all steps.
        seconds: from the first step's start to the last one's end, waiting for people, queues and rates left out.
    """

    steps: tuple[StepEstimate, ...]
    dollars: Spread
    seconds: Spread

    def to_json(self) -> dict[str, Any]:
        """Write it as `dry_run` answers: dollars to a millionth, seconds to a thousandth."""
        return {
            "steps": [
                {
                    "key": step.key,
                    "kind": step.kind,
                    "model": step.model,
                    "estimated_dollars": round(step.estimated_dollars, 6),
                    "estimated_seconds": round(step.estimated_seconds, 3),
                }
                for step in self.steps
            ],
            "estimated": {
                "dollars_p50": round(self.dollars.p50, 6),
                "dollars_p90": round(self.dollars.p90, 6),
                "seconds_p50": round(self.seconds.p50, 3),
                "seconds_p90": round(self.seconds.p90, 3),
            },
        }


@dataclass(frozen=True, slots=True)
class _Part:
    task: Task
    count: int
    dollars: Spread
    seconds: Spread


def estimate_workflow(workflow: Workflow, *, price: Figure, history: Figure, window: int | None = None) -> Estimate:
    """Estimate a workflow from what its tasks' kind of work cost and took before.

    Inline tasks, their items too, follow each other; linear ones run side by side in `max_concurrency` lanes; a graph
    takes its longest way. A `for_each` over a list that only a step will make counts as one item.

    Args:
        workflow: a parsed document.
        price: dollars of one run of a task.
        history: seconds of one run of a task.
        window: most tasks of one block the engine keeps under way, also where a block sets no ceiling; None for all.
    """
    set_by_steps = frozenset(task.output_variable for task in workflow.tasks() if task.output_variable is not None)
    steps: list[StepEstimate] = []
    spent: list[tuple[Spread, int]] = []
    taken: list[tuple[Spread, int]] = []
    for block in workflow.blocks:
        parts = [
            _Part(task, _count(task, workflow.variables, set_by_steps), price(task, block), history(task, block))
            for task in block.tasks
        ]
        steps.extend(_row(part, block, window) for part in parts)
        spent.extend((part.dollars, part.count) for part in parts)
        taken.append((_elapsed(parts, block, window), 1))
    return Estimate(tuple(steps), total_of(spent), total_of(taken))


def possible_tasks(workflow: Workflow) -> tuple[Task, ...]:
    """List the tasks whose `when` does not rule them out before anything has run."""
    set_by_steps = frozenset(task.output_variable for task in workflow.tasks() if task.output_variable is not None)
    return tuple(task for task in workflow.tasks() if not _ruled_out(task, workflow.variables, set_by_steps))


def unset_names(workflow: Workflow) -> tuple[str, ...]:
    """Name what tasks read though no variable and no task sets it: such placeholders would stay as they are.

    Returns:
        Sorted. Braces that were never meant as placeholders, such as `{x}` in a formula, are among them.
    """
    tasks = workflow.tasks()
    read = frozenset(name for task in tasks for name in task.reads())
    return tuple(sorted(read - workflow.variables.keys() - {task.output_variable for task in tasks}))


def _count(task: Task, variables: Mapping[str, Any], set_by_steps: frozenset[str]) -> int:
    """Count the items of a task: 1 for one without, or with a list that only a step will make."""
    if _ruled_out(task, variables, set_by_steps):
        return 0
    items = task.for_each
    if isinstance(items, str) and set_by_steps.isdisjoint(names_in(items)):
        items = lookup(items[1:-1], variables)
    return len(items) if isinstance(items, list) else 1


def _ruled_out(task: Task, variables: Mapping[str, Any], set_by_steps: frozenset[str]) -> bool:
    if task.when is None or task.judged_per_item:
        return False
    return _cannot_hold(task.when, variables, set_by_steps)


def _cannot_hold(condition: Mapping[str, Any], variables: Mapping[str, Any], set_by_steps: frozenset[str]) -> bool:
    """Tell whether what is known beforehand settles that a condition will not hold."""
    if set_by_steps.isdisjoint(names_in_condition(dict(condition))):
        return not holds(dict(condition), variables)
    for word, settled in (("all", any), ("any", all)):
        if word in condition:
            return settled(_cannot_hold(part, variables, set_by_steps) for part in condition[word])
    return False


def _row(part: _Part, block: Block, window: int | None) -> StepEstimate:
    return StepEstimate(
        key=part.task.key,
        kind=part.task.kind,
        model=part.task.target if part.task.kind == "model" else None,
        estimated_dollars=part.dollars.times(part.count).p50,
        estimated_seconds=_elapsed([part], block, window).p50,
    )


def _elapsed(parts: Sequence[_Part], block: Block, window: int | None) -> Spread:
    times = [(part.seconds, part.count) for part in parts]
    if block.type is BlockType.INLINE:
        return total_of(times)
    lanes = min((bound for bound in (block.max_concurrency, window) if bound is not None), default=None)
    p50 = _makespan_s(parts, lanes, [part.seconds.p50 for part in parts])
    p90 = _makespan_s(parts, lanes, [part.seconds.p90 for part in parts])
    slowest = slowest_of(times)
    # With few lanes, longer jobs can end sooner all together (Graham's anomaly), and p90 is never under p50.
    return Spread(max(p50, slowest.p50), max(p50, p90, slowest.p50, slowest.p90))


def _makespan_s(parts: Sequence[_Part], lanes: int | None, seconds: Sequence[float]) -> float:
    here = {part.task.key for part in parts}
    jobs = [
        Job(part.task.key, length, part.count, tuple(key for key in part.task.depends_on if key in here))
        for part, length in zip(parts, seconds, strict=True)
    ]
    return makespan_s(jobs, lanes)
