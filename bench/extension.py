"""The tool that benchmarks bring to Batuta: `EXTENSIONS=bench.extension`."""

from __future__ import annotations

from typing import Any

from app.runs.ports import Handler, HandlerCatalog, StepContext
from bench.client import AwaitingClient


def register(catalog: HandlerCatalog) -> None:
    """Add `bench_call`, which calls the endpoint."""
    clients: dict[int, AwaitingClient] = {}  # by port; all of a worker's steps share its loop

    async def bench_call(_: StepContext, given: dict[str, Any]) -> str:
        """Call the endpoint as every contender does.

        Repeat-safe: the endpoint counts calls, and the count is what the benchmark is about.
        """
        port = given["port"]
        client = clients.get(port) or clients.setdefault(port, AwaitingClient(port))
        return await client.call(given["workflow"], given["step"])

    catalog.tool(Handler("bench_call", bench_call, purpose="Calls the benchmark's endpoint."))
