"""What was asked of the simulator, kept so that a test can count and compare."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiohttp import web

MOST_ENTRIES = 50_000  # older ones are dropped; a test that needs more counts in pieces


@dataclass
class Entry:
    """One request; `status` 0 means the connection was dropped."""

    seq: int
    at: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    text: str
    body: Any
    status: int = 0
    duration_s: float = 0.0


@dataclass
class RequestLog:
    """The requests in the order they came in."""

    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=MOST_ENTRIES))
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def add(self, request: web.Request) -> Entry:
        """Write a request down before it is handled; headers' names are lower-cased."""
        text = (await request.read()).decode("utf-8", "replace")
        entry = Entry(
            seq=next(self._numbers),
            at=time.time(),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            text=text,
            body=_read_json(text),
        )
        self.entries.append(entry)
        return entry

    def find(self, route: str, method: str) -> list[dict[str, Any]]:
        """List entries whose path begins with `route`; an empty method means any."""
        wanted = method.upper()
        return [
            asdict(entry)
            for entry in self.entries
            if entry.path.startswith(route) and (not wanted or entry.method == wanted)
        ]

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
