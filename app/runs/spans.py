"""What a trace is told about a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import Status, StatusCode

from app.tracing import span

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span

    from app.runs.claimed import Claimed
    from app.runs.journal import Operation

OPERATIONS = {"agent": "invoke_agent", "tool": "execute_tool", "model": "invoke_workflow", "approval": "approval"}
NAMED = {"agent": "gen_ai.agent.name", "tool": "gen_ai.tool.name", "model": "batuta.model"}


def traced(step: Claimed) -> AbstractContextManager[Span]:
    """Record one try of a step under the trace of the request that started its run."""
    kind, target = step.task.kind, step.task.target if step.task.kind in NAMED else ""
    facts = {
        "gen_ai.operation.name": OPERATIONS[kind],
        NAMED.get(kind, "batuta.approval"): target or None,
        "gen_ai.workflow.name": step.run_kind,
        "batuta.run.id": step.run_id,
        "batuta.step.key": step.key,
        "batuta.step.attempt": step.attempts,
    }
    return span(f"{OPERATIONS[kind]} {target}".strip(), facts, parent=step.origin.get("traceparent"))


def tell_outcome(current: Span, operation: Operation) -> None:
    """Say how the try ended: finished, parked and why, or failed with which code."""
    outcome = operation.get("status") or operation["op"]
    current.set_attribute("batuta.step.outcome", outcome)
    if operation.get("reason"):
        current.set_attribute("batuta.step.reason", str(operation["reason"]))
    error = operation.get("error")
    if error:
        current.set_attribute("error.type", str(error.get("code", "internal")))
        current.set_status(Status(StatusCode.ERROR))
