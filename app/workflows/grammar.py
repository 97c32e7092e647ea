"""Read a workflow document: everything wrong with it is said at once, each at its place, before anything is stored.

    workflow   a list of blocks, or an object with `workflow` and, if wanted, `variables`
    block      {type: inline (default) | linear | graph, tasks: [...], max_concurrency?, latency?: live | batch}
    task       exactly one of model (+ prompt), agent, tool (+ input), approval; the rest in `task_grammar`

Names that are not known are ignored in blocks and tasks. What is null, or an empty text, counts as left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from app.workflows.catalog import Catalog
from app.workflows.graph import find_circle, in_order, unordered_setters
from app.workflows.limits import DEFAULT_LIMITS, Limits
from app.workflows.model import Block, BlockType, Latency, Task, Workflow
from app.workflows.places import Problems, inside, kind_of, shown
from app.workflows.task_grammar import TaskReader
from app.workflows.values import ValueReader, given, whole_number

_BLOCK_FIELDS: Final = ("type", "tasks", "max_concurrency", "latency")
_LATENCIES: Final[tuple[Latency, ...]] = get_args(Latency)
_CIRCLE_SHOWN: Final = 8  # keys of a circle in one message


def parse_workflow(
    document: Any, variables: Mapping[str, Any] | None, *, catalog: Catalog, limits: Limits = DEFAULT_LIMITS
) -> Workflow:
    """Read and check a document.

    Args:
        document: JSON from anywhere: the object with `workflow`, or the bare list of blocks.
        variables: what the caller adds; they win over the document's own.
        catalog: names of models, agents, tools and addons that exist.
        limits: how large it may be.

    Returns:
        The workflow; it shares nothing that can change with what was given.

    Raises:
        DocumentInvalidError: with all problems by place, at most `limits.max_problems`. Nothing else is raised,
            whatever was given.
    """
    return _DocumentReader(catalog, limits).read(document, variables)


class _DocumentReader:
    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self._limits = limits
        self._problems = Problems(limits.max_problems)
        self._values = ValueReader(self._problems, limits)
        self._tasks = TaskReader(catalog, limits, self._problems, self._values)
        self._places: dict[str, str] = {}

    def read(self, document: Any, variables: Any) -> Workflow:
        own: dict[str, Any] = given(document, ("workflow", "variables")) if isinstance(document, dict) else {}
        blocks = self._blocks(own.get("workflow") if isinstance(document, dict) else document)
        self._problems.raise_if_any()  # too large, or no workflow at all: looking further is no help
        read = [self._block(raw, index) for index, raw in enumerate(blocks) if not self._problems.full]
        self._check_items([task for block in read if block is not None for task in block.tasks])
        merged = {**self._variables(own.get("variables")), **self._variables(variables)}
        self._problems.raise_if_any()
        return Workflow(blocks=tuple(block for block in read if block is not None), variables=merged)

    def _blocks(self, blocks: Any) -> list[Any]:
        if not isinstance(blocks, list):
            found = "is missing" if blocks is None else f"is {kind_of(blocks)}"
            self._problems.add("workflow", f"The list of blocks {found}.")
            return []
        tasks = sum(_task_count(raw) for raw in blocks)
        limit = self._limits.max_tasks
        if not blocks:
            self._problems.add("workflow", "Is empty; it needs at least one block with a task.")
        elif tasks > limit or len(blocks) > limit:
            self._problems.add("workflow", f"Has {len(blocks)} blocks and {tasks} tasks; at most {limit} are taken.")
        return blocks

    def _variables(self, variables: Any) -> dict[str, Any]:
        if variables is None:
            return {}
        if not isinstance(variables, Mapping):
            self._problems.add("variables", f"Must be an object, not {kind_of(variables)}.")
            return {}
        read: dict[str, Any] = self._values.read(dict(variables), "variables") or {}
        return read

    def _block(self, raw: Any, index: int) -> Block | None:
        place = inside("workflow", index)
        if not isinstance(raw, dict):
            self._problems.add(place, f"A block must be an object, not {kind_of(raw)}.")
            return None
        said = given(raw, _BLOCK_FIELDS)
        block_type = self._type(said.get("type", BlockType.INLINE), place)
        tasks = self._block_tasks(said, index, place)
        return Block(
            index=index,
            type=block_type,
            tasks=self._checked(block_type, tasks, place),
            max_concurrency=self._max_concurrency(said, place),
            latency=self._latency(said, place),
        )

    def _type(self, value: Any, place: str) -> BlockType:
        try:
            return BlockType(value)
        except ValueError:
            self._problems.add(inside(place, "type"), f"Must be {', '.join(BlockType)}, not {shown(value)}.")
            return BlockType.INLINE

    def _max_concurrency(self, said: dict[str, Any], place: str) -> int | None:
        if "max_concurrency" not in said:
            return None
        value, limit = said["max_concurrency"], self._limits.max_concurrency
        places = whole_number(value, 1, limit)
        if places is None:
            message = f"Must be a whole number from 1 to {limit}, not {shown(value)}."
            self._problems.add(inside(place, "max_concurrency"), message)
        return places

    def _latency(self, said: dict[str, Any], place: str) -> Latency:
        value = said.get("latency", "live")
        for latency in _LATENCIES:
            if value == latency:
                return latency
        self._problems.add(inside(place, "latency"), f"Must be {' or '.join(_LATENCIES)}, not {shown(value)}.")
        return "live"

    def _block_tasks(self, said: dict[str, Any], index: int, place: str) -> list[Task]:
        here, raw_tasks = inside(place, "tasks"), said.get("tasks", [])
        if not isinstance(raw_tasks, list):
            self._problems.add(here, f"Must be a list of tasks, not {kind_of(raw_tasks)}.")
            return []
        if not raw_tasks:
            self._problems.add(here, "A block needs at least one task.")
        tasks = []
        for position, raw in enumerate(raw_tasks):
            if self._problems.full:
                break
            task = self._tasks.read(raw, f"{index}.{position}", inside(here, position))
            if task is not None and self._is_new(task):
                tasks.append(task)
        return tasks

    def _is_new(self, task: Task) -> bool:
        taken = self._places.setdefault(task.key, task.place)
        if taken != task.place:
            self._problems.add(inside(task.place, "id"), f"The id {shown(task.key)} is taken by {taken}.")
        return taken == task.place

    def _check_items(self, tasks: list[Task]) -> None:
        """Refuse an id whose items ("1.0", "1.1") would be called like tasks that have no id."""
        numbers = {task.key.partition(".")[0] for task in tasks if "." in task.key}
        for task in tasks:
            if task.for_each is not None and task.key in numbers:
                message = f"The tasks without ids of block {task.key} are called as its items would be; choose another."
                self._problems.add(inside(task.place, "id"), message)

    def _checked(self, block_type: BlockType, tasks: list[Task], place: str) -> tuple[Task, ...]:
        if block_type is BlockType.GRAPH:
            return self._graph(tasks, place)
        for task in tasks:
            if task.depends_on:
                self._problems.add(inside(task.place, "depends_on"), "Only tasks of a graph block have dependencies.")
        if block_type is BlockType.LINEAR:
            self._check_linear_setters(tasks)
        return tuple(tasks)

    def _check_linear_setters(self, tasks: list[Task]) -> None:
        setters: dict[str, Task] = {}
        for task in tasks:
            if task.output_variable is not None and setters.setdefault(task.output_variable, task) is not task:
                self._set_twice(task, setters[task.output_variable], "they run side by side")

    def _set_twice(self, task: Task, other: Task, why: str) -> None:
        message = f"The variable {shown(task.output_variable)} is set by {other.place} too, and {why}."
        self._problems.add(inside(task.place, "output_variable"), message)

    def _graph(self, tasks: list[Task], place: str) -> tuple[Task, ...]:
        noted = self._problems.count
        keys = {task.key for task in tasks}
        for task in tasks:
            self._check_dependencies(task, keys)
        if self._problems.count > noted:
            return tuple(tasks)
        depends_on = {task.key: task.depends_on for task in tasks}
        circle = find_circle(depends_on)
        if circle:
            shape = " -> ".join(circle if len(circle) <= _CIRCLE_SHOWN else [*circle[:_CIRCLE_SHOWN], "..."])
            self._problems.add(inside(place, "tasks"), f"Tasks wait for each other in a circle: {shape}.")
            return tuple(tasks)
        by_key = {task.key: task for task in tasks}
        ordered = tuple(by_key[key] for key in in_order(depends_on))
        for task, other in unordered_setters(ordered):
            self._set_twice(task, other, "neither comes after the other")
        return ordered

    def _check_dependencies(self, task: Task, keys: set[str]) -> None:
        here = inside(task.place, "depends_on")
        if "." in task.key and not self._problems.has(inside(task.place, "id")):
            self._problems.add(inside(task.place, "id"), "A task of a graph block needs an id.")
        for key in task.depends_on:
            if key == task.key:
                self._problems.add(here, "A task cannot come after itself.")
            elif key not in keys:
                self._problems.add(here, f"There is no task {shown(key)} in this block.")


def _task_count(raw: Any) -> int:
    tasks = raw.get("tasks") if isinstance(raw, dict) else None
    return len(tasks) if isinstance(tasks, list) else 0


__all__ = ["Catalog", "Limits", "parse_workflow"]
