"""What a person sees when the system is up: the addresses, and the first daily batch."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.commands.client import SystemClient, address_of
from app.errors import BatutaError, RequestError, UnavailableError
from app.settings import Settings
from app.supervisor import Terminal

START_TIMEOUT_S = 90.0
POLL_S = 0.25
BATCH_TIMEOUT_S = 290.0  # the route's own wait is 280
WIDTH = 118


class Welcome:
    """Greets whoever started the system, once it answers.

    Args:
        settings: with every address filled in.
        terminal: shared with the processes' output.
        first_batch: start a daily batch when none was ever made.
    """

    def __init__(self, settings: Settings, terminal: Terminal, *, first_batch: bool) -> None:
        self._settings = settings
        self._terminal = terminal
        self._first_batch = first_batch
        self._client = SystemClient(address_of(settings), _own_token(settings))

    def greet(self) -> None:
        """Wait for the system, show its first batch if one is due, then the addresses."""
        try:
            wait_until_healthy(self._client, START_TIMEOUT_S)
            if self._first_batch and self._client.get("/health").body.get("total_batches", 0) == 0:
                self._terminal.say("the first daily batch is being made …")
                answer = self._client.post("/events/daily_batch", {}, timeout_s=BATCH_TIMEOUT_S).body
                self._show(batch_result(self._client, answer))
        except RequestError as refusal:
            self._terminal.say(f"the first batch was not started: {refusal}")
        except BatutaError as error:
            self._terminal.say(f"{error}\nThe processes go on; `batuta doctor` says what is missing.")
            return
        self._show(self._addresses())

    def _addresses(self) -> Panel:
        base = self._client.base_url
        rows = Table.grid(padding=(0, 2))
        for what, where in (
            ("API", base),
            ("documents", f"{base}/docs"),
            ("health", f"{base}/health"),
            ("Flower", f"http://127.0.0.1:{self._settings.web.flower_port}"),
            ("models", self._models()),
            ("try", f"curl -X POST {base}/events/daily_batch -d '{{}}'"),
            ("look", "batuta runs · batuta show RUN · batuta doctor      stop: Ctrl-C"),
        ):
            rows.add_row(f"[bold]{what}[/bold]", where)
        return Panel(rows, title="Batuta is up", width=WIDTH)

    def _models(self) -> str:
        count = self._client.get("/health").body.get("models_available", 0)
        if count:
            return f"{count} can be asked; {self._client.base_url}/models lists them"
        return "none: chats and model steps answer 503 until a provider's key is set; `make try` simulates the vendors"

    def _show(self, what: Any) -> None:
        console = Console(
            file=io.StringIO(), width=WIDTH, force_terminal=self._terminal.is_coloured, legacy_windows=False
        )
        console.print(what)
        self._terminal.write("\n" + console.file.getvalue() + "\n")  # type: ignore[attr-defined]  # it is the StringIO


def wait_until_healthy(client: SystemClient, timeout_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until `/health` answers 200.

    Raises:
        UnavailableError: it did not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            client.get("/health", timeout_s=5)
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            sleep(POLL_S)
        else:
            return


def batch_result(client: SystemClient, answer: dict[str, Any]) -> Panel:
    """Draw what a daily batch made.

    Args:
        client: is asked for the ideas and prompts themselves.
        answer: of `POST /events/daily_batch`.
    """
    table = Table(box=None, show_header=False, padding=(0, 1), expand=True)
    table.add_column(justify="right", style="dim", min_width=2, no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    ideas = client.get("/ideas", {"page_size": answer.get("ideas_generated") or 1}).body
    prompts = client.get("/prompts", {"page_size": answer.get("prompts_generated") or 1}).body
    _add_rows(table, "ideas", [idea.get("skeleton", "") for idea in ideas[: answer.get("ideas_generated", 0)]])
    _add_rows(table, "prompts", [_prompt_text(each) for each in prompts[: answer.get("prompts_generated", 0)]])
    _add_remarks(table, "missing", [str(answer.get("error") or "")], "red")
    _add_remarks(table, "degraded", answer.get("degraded") or [], "yellow")
    summary = answer.get("summary") or answer.get("error") or answer.get("status", "")
    return Panel(
        table, title=f"daily batch: {escape(str(summary))}", subtitle=str(answer.get("task_id", "")), width=WIDTH
    )


def _add_rows(table: Table, heading: str, texts: list[str]) -> None:
    table.add_row("", f"[bold]{len(texts)} {heading}[/bold]")
    for number, text in enumerate(texts, start=1):
        table.add_row(str(number), escape(" ".join(text.split())))


def _add_remarks(table: Table, heading: str, texts: list[str], colour: str) -> None:
    """Say what is missing or was done the plain way; whole, since it is what somebody has to act on."""
    for text in filter(None, texts):
        table.add_row("", Text(f"{heading}: {text}", style=colour, overflow="fold", no_wrap=False))


def _prompt_text(prompt: dict[str, Any]) -> str:
    return str(prompt.get("prompt") or prompt.get("text") or "")


def _own_token(settings: Settings) -> str | None:
    entries = [entry.split(":", 2) for entry in settings.web.api_tokens]
    return entries[0][2] if entries else None
