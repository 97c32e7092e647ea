"""The floor: the same calls from plain coroutines, with no engine and no memory of anything."""

from __future__ import annotations

import asyncio

from bench.client import AwaitingClient
from bench.contender import given_work, race_async
from bench.work import FIRST, LAST, MIDDLE, Work


class BareSystem:
    """One coroutine a workflow."""

    def __init__(self, port: int) -> None:
        """Call the endpoint on this port."""
        self._client = AwaitingClient(port)

    async def run(self, work: Work) -> int:
        """Run this copy's workflows at once; returns how many failed."""
        ended = await asyncio.gather(*map(self._workflow, work.own_ids), return_exceptions=True)
        return sum(isinstance(end, BaseException) for end in ended)

    async def _workflow(self, workflow: str) -> None:
        await self._client.call(workflow, FIRST)
        await asyncio.gather(*(self._client.call(workflow, step) for step in MIDDLE))
        await self._client.call(workflow, LAST)


if __name__ == "__main__":
    given = given_work()
    asyncio.run(race_async(BareSystem(given.port).run, given))
