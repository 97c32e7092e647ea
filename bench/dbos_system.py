"""DBOS on the same PostgreSQL: async workflows whose steps are recorded, several executors side by side.

Of its ways to start work this is the cheapest that is still durable: each executor awaits its own workflows by id
(`SetWorkflowID`), so there is no queue to poll and no result to fetch. `--dbos-queue` in the driver takes its queue.
"""

from __future__ import annotations

import asyncio

from dbos import DBOS, DBOSConfig, SetWorkflowID

from bench.client import AwaitingClient
from bench.contender import given_work, race_async
from bench.work import FIRST, LAST, MIDDLE, Work

POOL = 20  # connections an executor keeps; DBOS's own default, named because more made nothing faster


class DbosSystem:
    """One executor: it runs its share of the workflows and journals every step."""

    def __init__(self, port: int) -> None:
        """Call the endpoint on this port; registers the workflow and its step with DBOS."""
        client = AwaitingClient(port)

        @DBOS.step(name="bench_call")
        async def call(workflow: str, step: str) -> str:
            return await client.call(workflow, step)

        @DBOS.workflow(name="bench_workflow")
        async def fan_out_and_in(workflow: str) -> None:
            await call(workflow, FIRST)
            await asyncio.gather(*(call(workflow, step) for step in MIDDLE))
            await call(workflow, LAST)

        self._workflow = fan_out_and_in

    async def run(self, work: Work) -> int:
        """Run this copy's workflows at once; returns how many failed."""
        ended = await asyncio.gather(*map(self._run_one, work.own_ids), return_exceptions=True)
        return sum(isinstance(end, BaseException) for end in ended)

    async def _run_one(self, workflow: str) -> None:
        with SetWorkflowID(workflow):
            await self._workflow(workflow)


def main() -> None:
    """Launch an executor and race."""
    work = given_work()
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": work.database_url,
        "executor_id": f"bench-{work.copy}",
        "application_version": "bench",
        "sys_db_pool_size": POOL,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    system = DbosSystem(work.port)
    DBOS.launch()
    asyncio.run(race_async(system.run, work))
    DBOS.destroy()


if __name__ == "__main__":
    main()
