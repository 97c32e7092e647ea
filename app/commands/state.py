"""`batuta import-state`: take over the counters of the original orchestrator."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.commands.storage import composed, prepare_database, reachable_servers
from app.errors import InvalidError
from app.settings import Settings

SHOWN_CHARS = 60


def import_state(settings: Settings, path: Path, console: Console) -> None:
    """Read a state file and overwrite our counters with its own.

    Raises:
        InvalidError: the file is no JSON object, or one of its values is of the wrong kind.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InvalidError(f"{path} holds no JSON object.")
    with reachable_servers(settings) as addressed:
        prepare_database(addressed)
        with composed(addressed) as application:
            taken = application.studio.import_state(content)
    table = Table("counter", "taken over", box=None)
    for name, value in taken.items():
        table.add_row(name, escape(str(value)[:SHOWN_CHARS]))
    console.print(table)
