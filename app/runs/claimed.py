"""A step that this process owns now, as the journal's answer to a claim gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.workflows.model import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.runs.journal import Answer, Operation


@dataclass
class Claimed:
    """A step this process owns now; `values` is what its placeholders see, `missing` the names that have no value.

    `origin` names the request that the run comes from, and the `traceparent` it goes on under.
    """

    run_id: str
    key: str
    fence: int
    task: Task
    values: dict[str, Any]
    missing: frozenset[str]
    item: int | None
    rendered: Any
    attempts: int
    tries: dict[str, int]
    doomed: bool
    run_owner: str
    run_kind: str
    origin: Mapping[str, str] = field(default_factory=dict)
    latency: str = "live"

    @property
    def holder(self) -> str:
        """How assets name the run that refers to them."""
        return f"run:{self.run_id}"

    def operation(self, name: str, **fields: Any) -> Operation:
        """Write an operation on this step, fenced."""
        return {"op": name, "run": self.run_id, "key": self.key, "fence": self.fence, **fields}


def read_claim(run_id: str, key: str, answer: Answer) -> Claimed:
    """Read the answer to a claim."""
    task = Task.from_json(answer["task"])
    values = answer["scope"]
    item = answer["item"]
    if item is not None:
        values = {**values, "item": answer["item_value"], "index": item}
    return Claimed(
        run_id=run_id,
        key=key,
        fence=answer["fence"],
        task=task,
        values=values,
        missing=frozenset(answer["missing"]),
        item=item,
        rendered=answer["rendered"],
        attempts=answer["attempts"],
        tries=answer["tries"],
        doomed=answer["doomed"],
        run_owner=answer["run_owner"],
        run_kind=answer["run_kind"],
        origin=answer.get("origin") or {},
        latency=answer.get("latency") or "live",
    )
