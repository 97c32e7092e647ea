"""A workflow that passed its grammar: blocks of tasks, and the variables they start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from app.workflows.conditions import names_in_condition
from app.workflows.variables import LOOP_NAMES, names_in

TaskKind = Literal["model", "agent", "tool", "approval"]
Latency = Literal["live", "batch"]

KINDS: Final[tuple[TaskKind, ...]] = ("model", "agent", "tool", "approval")


class BlockType(StrEnum):
    """How the tasks of a block follow each other: one by one, all at once, or as each declares."""

    INLINE = "inline"
    LINEAR = "linear"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class Task:
    """One step of a document.

    Args:
        key: the task's id, else `{block}.{task}`; unique in the document.
        place: where it stands in the document as it was sent.
        kind: what does the work.
        target: the name of the model, agent or tool; an approval's question, which may hold placeholders.
        prompt: what a model is told.
        input: what an agent or tool is given.
        output_variable: the name later tasks read the output by.
        config: callers' settings for the call, addons among them.
        when: a condition; the task is skipped where it does not hold.
        for_each: a placeholder, or a list that may hold some; None when the task runs once.
        timeout_s: seconds one try may take; None leaves it to the installation.
        retries: tries after the first; None leaves it to the error's class.
        fallback: models in place of the registry's; empty leaves it to the registry.
        input_image: a placeholder or an asset's hash.
        depends_on: keys of tasks of the same graph block.
    """

    key: str
    place: str
    kind: TaskKind
    target: str
    prompt: str | None = None
    input: Any = field(default_factory=dict)
    output_variable: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    when: dict[str, Any] | None = None
    for_each: Any | None = None
    timeout_s: float | None = None
    retries: int | None = None
    fallback: tuple[str, ...] = ()
    input_image: str | None = None
    depends_on: tuple[str, ...] = ()

    def reads(self) -> frozenset[str]:
        """Name the variables the task asks for: exactly these are looked up before it runs.

        Returns:
            Root names. For a `for_each`, `item` and `index` mean the loop's own, except in the list itself.
        """
        names = names_in([self.prompt, self.input, self.config, self.input_image])
        if self.kind == "approval":
            names |= names_in(self.target)
        if self.when is not None:
            names |= names_in_condition(self.when)
        if self.for_each is None:
            return names
        return (names - LOOP_NAMES) | names_in(self.for_each)

    @property
    def judged_per_item(self) -> bool:
        """Whether `when` asks for the loop's `item` or `index`, so that it picks items instead of the whole task."""
        return self.for_each is not None and self.when is not None and bool(names_in_condition(self.when) & LOOP_NAMES)

    def to_json(self) -> dict[str, Any]:
        """Write the task as small JSON: what is not set is left out."""
        written: dict[str, Any] = {"key": self.key, "place": self.place, "kind": self.kind, "target": self.target}
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value is not None:
                written[name] = value
        if self.input != {}:
            written["input"] = self.input
        if self.config:
            written["config"] = self.config
        for name in _TUPLES:
            if getattr(self, name):
                written[name] = list(getattr(self, name))
        return written

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Task:
        """Read what `to_json` wrote; other names in it are ignored."""
        given: dict[str, Any] = {name: written[name] for name in _PLAIN if name in written}
        given.update((name, tuple(written[name])) for name in _TUPLES if name in written)
        return cls(**given)


_OPTIONAL: Final = ("prompt", "output_variable", "when", "for_each", "timeout_s", "retries", "input_image")
_PLAIN: Final = ("key", "place", "kind", "target", "input", "config", *_OPTIONAL)
_TUPLES: Final = ("fallback", "depends_on")


@dataclass(frozen=True, slots=True)
class Block:
    """Tasks that start when the block before has ended.

    Args:
        index: place in the document, from 0.
        type: how the tasks follow each other.
        tasks: in the document's order; those of a graph so that each stands after all it depends on, which makes
            "later wins" mean the same in every block.
        max_concurrency: tasks, and items of a `for_each`, side by side; None for as many as there are.
        latency: `batch` lets a vendor take hours for half the price.
    """

    index: int
    type: BlockType
    tasks: tuple[Task, ...]
    max_concurrency: int | None = None
    latency: Latency = "live"


@dataclass(frozen=True, slots=True)
class Workflow:
    """A whole document.

    Args:
        blocks: at least one, in the document's order.
        variables: what the first task sees, by name.
    """

    blocks: tuple[Block, ...]
    variables: dict[str, Any] = field(default_factory=dict)

    def tasks(self) -> tuple[Task, ...]:
        """List every task, block by block."""
        return tuple(task for block in self.blocks for task in block.tasks)
