"""Stand in for a slow provider: answer each call after a set time, and remember who called how often.

One asyncio process speaks just enough HTTP/1.1 to hold many thousand open requests cheaply, so that what is measured
is the caller. Routes:

- `GET /call/{workflow}/{step}` answers after the latency; arrivals and answers are counted by workflow and step.
- `POST /begin/{latency_s}/{answer_bytes}` forgets everything and sets the latency and size of answers.
- `GET /counts` tells what was seen since.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections import Counter
from typing import Any

BACKLOG = 8192  # connections the kernel may queue: a thousand workflows fan out in the same instant
FILES_WANTED = 16_384


class Ledger:
    """What arrived and what was answered since the last `begin`."""

    def __init__(self) -> None:
        """Start empty, answering at once."""
        self.begin(0.0, 2)

    def begin(self, latency_s: float, answer_bytes: int) -> None:
        """Forget everything and answer `answer_bytes` bytes after `latency_s` from now on."""
        self.latency_s = latency_s
        self.arrived: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.cut = 0
        self.open = 0
        self.most_open = 0
        self.first_at = 0.0
        self.last_at = 0.0
        self.connections = 0
        self.cpu_s = time.process_time()
        body = json.dumps({"text": "x" * max(0, answer_bytes - len('{"text": ""}'))}).encode()
        self.answer = respond(body)

    def counts(self) -> dict[str, Any]:
        """Sum up as JSON: each step's arrivals, and what the endpoint itself spent."""
        return {
            "answered": dict(self.answered),
            "arrived": dict(self.arrived),
            "cut": self.cut,
            "most_open": self.most_open,
            "connections": self.connections,
            "span_s": self.last_at - self.first_at,
            "cpu_s": time.process_time() - self.cpu_s,
        }


def respond(body: bytes, status: str = "200 OK") -> bytes:
    """Make the bytes of one answer that keeps its connection open."""
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One caller's connection: one request at a time, none with a body worth reading."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve from `ledger`."""
        self.ledger = ledger
        self.pending = b""
        self.transport: asyncio.Transport
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server hands out
        self.transport = transport
        self.ledger.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer once the head of a request is complete."""
        self.pending += data
        if not self.pending.endswith(b"\r\n\r\n"):
            return
        method, target, _ = self.pending.split(b" ", 2)
        self.pending = b""
        self._route(method, target.decode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Count a call that was given up before its answer."""
        if self.timer is not None:
            self.timer.cancel()
            self.ledger.open -= 1
            self.ledger.cut += 1

    def _route(self, method: bytes, target: str) -> None:
        parts = target.split("/")
        if parts[1] == "call":
            self._hold(f"{parts[2]}/{parts[3]}")
        elif parts[1] == "counts":
            self.transport.write(respond(json.dumps(self.ledger.counts()).encode()))
        elif parts[1] == "begin" and method == b"POST":
            self.ledger.begin(float(parts[2]), int(parts[3]))
            gc.collect()
            self.transport.write(respond(b"{}"))
        else:
            self.transport.write(respond(b"{}", "404 Not Found"))

    def _hold(self, step: str) -> None:
        ledger = self.ledger
        ledger.arrived[step] += 1
        ledger.open += 1
        ledger.most_open = max(ledger.most_open, ledger.open)
        ledger.first_at = ledger.first_at or time.monotonic()
        self.timer = asyncio.get_running_loop().call_later(ledger.latency_s, self._answer, step)

    def _answer(self, step: str) -> None:
        self.timer = None
        self.ledger.open -= 1
        self.ledger.answered[step] += 1
        self.ledger.last_at = time.monotonic()
        self.transport.write(self.ledger.answer)


def allow_files() -> None:
    """Raise this process's limit of open files as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve() -> None:
    """Serve on a free loopback port, printed first, until standard input closes."""
    loop = asyncio.get_running_loop()
    ledger = Ledger()
    server = await loop.create_server(lambda: Connection(ledger), "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)  # how the driver learns it
    closed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), closed.set)
    await closed.wait()


if __name__ == "__main__":
    allow_files()
    gc.disable()  # thousands of live timers make full collections dear; `begin` collects between systems
    asyncio.run(serve())
