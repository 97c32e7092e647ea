"""The tool that Batuta's workers call in the race: the one client of every contender, on the worker's loop."""

from __future__ import annotations

import os
from typing import Any

from app.runs.ports import Handler, HandlerCatalog, StepContext
from bench.client import AwaitingClient
from bench.endpoint import allow_files

PORT = "BENCH_PORT"
TOOL = "bench_call"
LIGHT = "bench_light"


def register(catalog: HandlerCatalog) -> None:
    """Add the tools; the endpoint's port comes from the environment."""
    allow_files()
    clients: list[AwaitingClient] = []

    async def call(_context: StepContext, given: dict[str, Any]) -> str:
        """Make the step's call.

        Repeat-safe: the endpoint counts calls; a second one is what the race looks for.
        """
        if not clients:
            clients.append(AwaitingClient(int(os.environ[PORT])))
        return await clients[0].call(given["workflow"], given["step"])

    async def light(_context: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Give back what came.

        Repeat-safe: changes nothing.
        """
        return given

    catalog.tool(Handler(TOOL, call, purpose="one call of the race"))
    catalog.tool(Handler(LIGHT, light, purpose="a step that costs nothing"))
