"""`batuta batch`, `runs`, `show`, `cancel`: the running system, seen from a terminal."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.commands.client import SystemClient
from app.commands.welcome import batch_result

POLL_S = 0.5
ENDED = frozenset({"completed", "partial", "failed", "cancelled"})
STEP_ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})
NEEDS_A_PERSON = frozenset({"waiting", "paused", "paused_budget"})
COLOURS = {"completed": "green", "partial": "yellow", "failed": "red", "cancelled": "red", "running": "cyan"}
OUTPUT_CHARS = 200  # more than a line of any terminal; the table cuts it to what fits


def start_batch(client: SystemClient, body: dict[str, Any], console: Console) -> bool:
    """Start the daily batch and follow it to its end.

    Returns:
        Whether it succeeded.
    """
    answer = client.post("/events/daily_batch", body, {"Prefer": "respond-async"}).body
    if "success" not in answer:  # a run was started: the 202
        run = follow_run(client, answer["task_id"], console)
        answer = {"task_id": run["task_id"], **(run.get("result") or {"error": run["status"]})}
    console.print(batch_result(client, answer))
    return bool(answer.get("success"))


def list_runs(client: SystemClient, query: dict[str, Any], console: Console) -> None:
    """Print runs, newest first."""
    table = Table(box=None)
    for heading in ("run", "kind", "status", "created", "took", "tokens", "dollars"):
        table.add_column(heading, no_wrap=heading in {"run", "status"}, overflow="fold")
    for run in client.get("/runs", query).body:
        table.add_row(
            run["task_id"],
            run["kind"],
            _coloured(run["status"]),
            run["created_at"][5:16].replace("T", " "),
            _took(run),
            str(run["cost"]["tokens"]),
            f"{run['cost']['dollars']:.6f}",
        )
    console.print(table)


def follow_run(client: SystemClient, run_id: str, console: Console) -> dict[str, Any]:
    """Show a run's progress until it ends, or needs a person.

    Returns:
        The run as it is then.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("…", total=None)
        while True:
            run = client.get(f"/runs/{run_id}").body
            done = sum(step["status"] in STEP_ENDED for step in run["steps"])
            now = [step["key"] for step in run["steps"] if step["status"] == "running"]
            said = f"{run['kind']} {_coloured(run['status'])} {escape(', '.join(now[:3]))}"
            progress.update(bar, description=said, completed=done, total=len(run["steps"]) or None)
            if run["status"] in ENDED | NEEDS_A_PERSON:
                return dict(run)
            time.sleep(POLL_S)


def show_run(run: dict[str, Any], console: Console) -> None:
    """Print a run and its steps."""
    console.print(f"[bold]{run['kind']}[/bold] {run['task_id']} {_coloured(run['status'])} {_took(run)}")
    table = Table(box=None, expand=True)
    for heading in ("step", "kind", "status", "model", "tries", "took", "dollars"):
        table.add_column(heading, no_wrap=True, overflow="fold")
    table.add_column("output or error", no_wrap=True, overflow="ellipsis", ratio=1)  # takes what the others leave
    for step in run["steps"]:
        shown = step["error"]["message"] if step.get("error") else step.get("output")
        written = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
        text = "" if shown is None else " ".join(written.split())
        table.add_row(
            escape(step["key"]),
            step["kind"],
            _coloured(step["status"]),
            escape(step.get("model") or ""),
            str(step["attempts"]),
            _took(step),
            f"{step['cost']:.6f}",
            escape(text[:OUTPUT_CHARS]),
        )
    console.print(table)
    if run.get("error"):
        console.print(f"[red]{escape(str(run['error'].get('message', run['error'])))}[/red]")


def cancel_run(client: SystemClient, run_id: str, console: Console) -> None:
    """Cancel a run and print what became of it."""
    run = client.post(f"/runs/{run_id}/cancel", {}).body
    console.print(f"{run['task_id']} {_coloured(run['status'])}")


def _coloured(status: str) -> str:
    colour = COLOURS.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else status


def _took(what: dict[str, Any]) -> str:
    if not (what.get("started_at") and what.get("finished_at")):
        return ""
    begun, ended = (datetime.fromisoformat(what[name]) for name in ("started_at", "finished_at"))
    return f"{(ended - begun).total_seconds():.1f} s"
