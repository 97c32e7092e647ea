"""Order among the tasks of a graph block: who comes after whom, circles, and what a task can see.

Sets of tasks are whole numbers, one bit a task: the 2,000 tasks of a full block, each after all others, take half a
megabyte this way and not a hundred.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from app.workflows.model import Block, Task


def in_order(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Sort keys so that each stands after what it depends on, otherwise as given.

    Args:
        depends_on: every key with those it comes after; all of them are keys themselves.

    Returns:
        All keys, but those on a circle, or after one.
    """
    keys = list(depends_on)
    place = {key: position for position, key in enumerate(keys)}
    left = [len(depends_on[key]) for key in keys]
    after: list[list[int]] = [[] for _ in keys]
    for key, needed in depends_on.items():
        for one in needed:
            after[place[one]].append(place[key])
    ready = [position for position, count in enumerate(left) if count == 0]
    ordered = []
    while ready:
        position = heapq.heappop(ready)
        ordered.append(keys[position])
        for follower in after[position]:
            left[follower] -= 1
            if left[follower] == 0:
                heapq.heappush(ready, follower)
    return ordered


def find_circle(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """Find keys that wait for each other.

    Args:
        depends_on: as for `in_order`.

    Returns:
        One circle, each key followed by one it depends on, the first again at the end; empty when there is none.
    """
    stuck = set(depends_on) - set(in_order(depends_on))
    if not stuck:
        return []
    walk: dict[str, None] = {}
    key = next(key for key in depends_on if key in stuck)
    while key not in walk:
        walk[key] = None
        # What is stuck waits for something stuck, so the walk never ends outside a circle.
        key = next(one for one in depends_on[key] if one in stuck)
    seen = list(walk)
    return [*seen[seen.index(key) :], key]


def sources(block: Block) -> dict[str, tuple[str, ...]]:
    """Name, for each task of a graph block, the tasks of that block whose end means something to it beyond order.

    Args:
        block: a parsed graph block, so that tasks stand after what they depend on.

    Returns:
        By key, in the block's order: those it depends on, directly or not, that set a variable it reads, or are
        approvals. All its ancestors could be two million names in one block.
    """
    ancestors = _ancestor_bits(block.tasks)
    approvals = [position for position, task in enumerate(block.tasks) if task.kind == "approval"]
    setters: dict[str, list[int]] = {}
    for position, task in enumerate(block.tasks):
        if task.output_variable is not None:
            setters.setdefault(task.output_variable, []).append(position)
    found = {}
    for task in block.tasks:
        candidates = {*approvals, *(position for name in task.reads() for position in setters.get(name, ()))}
        seen = (position for position in sorted(candidates) if ancestors[task.key] >> position & 1)
        found[task.key] = tuple(block.tasks[position].key for position in seen)
    return found


def unordered_setters(tasks: Sequence[Task]) -> list[tuple[Task, Task]]:
    """Find tasks that set the same variable though neither comes after the other.

    Args:
        tasks: of one graph block, in order.

    Returns:
        Pairs, the later one first; for each later one the nearest before it.
    """
    ancestors = _ancestor_bits(tasks)
    pairs = []
    latest: dict[str, tuple[int, Task]] = {}
    for position, task in enumerate(tasks):
        if task.output_variable is None:
            continue
        # Tasks stand in order, so comparing neighbours is enough: where each comes after the one before, all do.
        before = latest.get(task.output_variable)
        if before is not None and not ancestors[task.key] >> before[0] & 1:
            pairs.append((task, before[1]))
        latest[task.output_variable] = (position, task)
    return pairs


def _ancestor_bits(tasks: Sequence[Task]) -> dict[str, int]:
    bit = {task.key: 1 << position for position, task in enumerate(tasks)}
    ancestors: dict[str, int] = {}
    for task in tasks:
        found = 0
        for key in task.depends_on:
            found |= bit[key] | ancestors[key]
        ancestors[task.key] = found
    return ancestors
