"""What a document must come to, written a second time and plainly: no locks, no counters, no messages."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from typing import Any

from app.errors import DocumentInvalidError
from app.workflows.conditions import holds, names_in_condition
from app.workflows.model import Block, BlockType, Task, Workflow
from app.workflows.variables import render
from tests.engine.documents import graph, inline, linear, parse, tool


@dataclass(frozen=True)
class End:
    """How a step ended."""

    status: str
    output: Any = None
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether its variable has a value."""
        return self.status == "completed" or self.reason == "when"


@dataclass
class Reference:
    """Play a workflow in document order.

    Args:
        workflow: what is played.
        fails: keys of steps, and of items, whose handler fails or whose approval is refused.
        before: how everything ended the last time, when this is a retry.
    """

    workflow: Workflow
    fails: frozenset[str]
    before: dict[str, End] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)
    refused: list[tuple[Block, int, Task]] = field(default_factory=list)

    def play(self) -> dict[str, End]:
        """Give every step's end, items included."""
        for block in self.workflow.blocks:
            for position, task in enumerate(block.tasks):
                self.ends[task.key] = self._play_task(block, position, task)
                if task.kind == "approval" and self._any_refused(task.key):
                    self.refused.append((block, position, task))
        return self.ends

    @property
    def status(self) -> str:
        """The run's end."""
        statuses = [end.status for key, end in self.ends.items() if not self._has_items(key)]
        if "failed" not in statuses:
            return "completed"
        return "partial" if "completed" in statuses else "failed"

    def _stays(self, key: str) -> bool:
        """Whether a retry leaves a step or an item as it is."""
        if key not in self.before or not self.before[key].known:
            return False
        return all(self.before[item].known for item in self._items_before(key))

    def _items_before(self, key: str) -> list[str]:
        return [other for other in self.before if other.startswith(f"{key}.")]

    def _has_items(self, key: str) -> bool:
        return f"{key}.0" in self.ends

    def _any_refused(self, key: str) -> bool:
        return any(end.status == "failed" for other, end in self.ends.items() if other.partition(".")[0] == key)

    def _play_task(self, block: Block, position: int, task: Task) -> End:
        if self._stays(task.key):
            self.ends.update({item: self.before[item] for item in self._items_before(task.key)})
            return self.before[task.key]
        end = self._play_again(block, position, task)
        for item in self._items_before(task.key):
            if item not in self.ends:
                kept = self.before[item].known
                self.ends[item] = self.before[item] if kept else End("skipped", reason="its for_each was")
        return end

    def _play_again(self, block: Block, position: int, task: Task) -> End:
        if self._is_doomed(block, position, task):
            return End("skipped", reason="doomed")
        values, missing = self._scope(block, position, task)
        if not task.for_each:
            return self._play_one(task, task.key, values, missing)
        skip = self._skip(task, values, missing, judged=not task.judged_per_item)
        if skip is not None:
            return skip
        outputs = []
        for index, item in enumerate(render(task.for_each, values)):
            key = f"{task.key}.{index}"
            if self._stays(key):
                self.ends[key] = self.before[key]
            else:
                self.ends[key] = self._play_one(task, key, {**values, "item": item, "index": index}, missing)
            outputs.append(self.ends[key].output)
        return End("completed", outputs)

    def _play_one(self, task: Task, key: str, values: dict[str, Any], missing: set[str]) -> End:
        judged = task.for_each is None or task.judged_per_item
        skip = self._skip(task, values, missing, judged=judged)
        if skip is not None:
            return skip
        return End("failed") if key in self.fails else End("completed", [key])

    def _skip(self, task: Task, values: dict[str, Any], missing: set[str], *, judged: bool) -> End | None:
        if task.when is not None and judged and not names_in_condition(task.when) & missing:  # noqa: SIM102 - two questions
            if not holds(task.when, values):
                return End("skipped", reason="when")
        return End("skipped", reason="needs") if task.reads() & missing else None

    def _before(self, block: Block, position: int, task: Task) -> list[Task]:
        earlier = [other for each in self.workflow.blocks[: block.index] for other in each.tasks]
        if block.type is BlockType.INLINE:
            return [*earlier, *block.tasks[:position]]
        if block.type is BlockType.GRAPH:
            ancestors = self._ancestors(block, task)
            return [*earlier, *(other for other in block.tasks if other.key in ancestors)]
        return earlier

    def _ancestors(self, block: Block, task: Task) -> set[str]:
        found: set[str] = set()
        by_key = {other.key: other for other in block.tasks}
        waiting = list(task.depends_on)
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting.extend(by_key[key].depends_on)
        return found

    def _scope(self, block: Block, position: int, task: Task) -> tuple[dict[str, Any], set[str]]:
        values, missing = dict(self.workflow.variables), set()
        for other in self._before(block, position, task):
            if other.output_variable is None:
                continue
            end = self.ends[other.key]
            missing.discard(other.output_variable)
            if end.known:
                values[other.output_variable] = end.output
            else:
                missing.add(other.output_variable)
        return values, missing

    def _is_doomed(self, block: Block, position: int, task: Task) -> bool:
        if block.type is BlockType.GRAPH:
            needed = [self.ends[key] for key in task.depends_on]
            if any(end.status == "failed" or (end.status == "skipped" and end.reason != "when") for end in needed):
                return True
        return any(self._follows(block, position, task, *gate) for gate in self.refused)

    def _follows(self, block: Block, position: int, task: Task, gate: Block, place: int, asked: Task) -> bool:
        if block.index != gate.index:
            return True
        if block.type is BlockType.INLINE:
            return position > place
        return block.type is BlockType.GRAPH and asked.key in self._ancestors(block, task)


class Author:
    """Writes small documents at random.

    Args:
        chance: the source of all choices.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._names = ["v0", "v1", "v2"]

    def write(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Give blocks and variables that the grammar takes."""
        while True:
            blocks = [self._block(index) for index in range(self._chance.randint(1, 3))]
            variables = {"go": self._chance.random() < 0.5, "v0": ["x"], "none": [], "some": ["p", "q"]}
            with contextlib.suppress(DocumentInvalidError):
                parse(blocks, variables)
                return blocks, variables

    def _block(self, index: int) -> dict[str, Any]:
        shape = self._chance.choice([inline, linear, graph])
        tasks: list[dict[str, Any]] = []
        free = list(self._names)
        for number in range(self._chance.randint(1, 4)):
            task = self._task(f"s{index}{number}", free if shape is linear else list(self._names))
            if shape is graph and tasks:
                known = [str(other["id"]) for other in tasks]
                task["depends_on"] = self._chance.sample(known, self._chance.randint(0, min(2, len(known))))
            tasks.append(task)
        more = (
            {"max_concurrency": self._chance.randint(1, 3)}
            if shape is not inline and self._chance.random() < 0.4
            else {}
        )
        return shape(*tasks, **more)

    def _task(self, key: str, free: list[str]) -> dict[str, Any]:
        chance = self._chance
        task = tool(chance.choice(["mark", "mark", "on_stage"]), key)
        if chance.random() < 0.15:
            task = {"id": key, "approval": "Shall we?"}
        elif chance.random() < 0.5:
            task["input"] = {"read": f"{{{chance.choice(self._names)}}}"}
        if free and chance.random() < 0.6:
            task["output_variable"] = free.pop(chance.randrange(len(free)))
        if chance.random() < 0.25:
            task["for_each"] = chance.choice(["{none}", "{some}", "{some}", ["a", "b", "c"]])
        if chance.random() < 0.25:
            task["when"] = chance.choice(
                [
                    {"var": "go", "op": "==", "value": True},
                    {"var": chance.choice(self._names), "op": "exists"},
                    *([{"var": "item", "op": "!=", "value": "p"}] if "for_each" in task else []),
                ]
            )
        return task
