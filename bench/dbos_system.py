"""DBOS on the same PostgreSQL: async workflows whose steps are recorded, several executors side by side.

Two ways to start work. *Directly*, each executor awaits its share of the workflows by id: no queue to poll and no
result to fetch, the cheapest of its ways that is durable. *Through its queue*, workflows are enqueued in the database
and any executor takes them, which is what spreads work over machines and takes it over from a dead one.
"""

from __future__ import annotations

import asyncio
import math
import sys

from dbos import DBOS, DBOSConfig, SetWorkflowID

from bench.client import AwaitingClient
from bench.contender import given_work, race_async
from bench.work import FIRST, LAST, MIDDLE, Work

POOL = 20  # connections an executor keeps; DBOS's own default, named because it was tried: more made nothing faster
QUEUE = "bench"
POLL_S = 0.1  # how often an executor looks into the queue; its default of 1 s would cost makespan
UNDER_WAY = ["PENDING", "ENQUEUED", "DELAYED"]


class DbosSystem:
    """One executor: it journals every step of the workflows it runs."""

    def __init__(self, port: int, *, through_queue: bool) -> None:
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
        self.run = self._run_queued if through_queue else self._run_directly

    async def _run_directly(self, work: Work) -> int:
        ended = await asyncio.gather(*map(self._run_one, work.own_ids), return_exceptions=True)
        return sum(isinstance(end, BaseException) for end in ended)

    async def _run_one(self, workflow: str) -> None:
        with SetWorkflowID(workflow):
            await self._workflow(workflow)

    async def _run_queued(self, work: Work) -> int:
        """Enqueue this copy's share; look with one cheap question whether everybody's is over."""
        await asyncio.gather(*map(self._enqueue_one, work.own_ids))
        while await DBOS.list_workflows_async(  # noqa: ASYNC110 - other executors finish some of them
            status=UNDER_WAY, workflow_id_prefix=work.prefix, limit=1, load_input=False, load_output=False
        ):
            await asyncio.sleep(POLL_S)
        ended = await DBOS.list_workflows_async(workflow_ids=work.own_ids, status="SUCCESS", load_output=False)
        return len(work.own_ids) - len(ended)

    async def _enqueue_one(self, workflow: str) -> None:
        with SetWorkflowID(workflow):
            await DBOS.enqueue_workflow_async(QUEUE, self._workflow, workflow)


def main(*, through_queue: bool) -> None:
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
    system = DbosSystem(work.port, through_queue=through_queue)
    DBOS.launch()
    if through_queue:
        share = max(math.ceil(work.workflows / work.copies), work.warm_up().workflows)
        DBOS.register_queue(QUEUE, worker_concurrency=share, polling_interval_sec=POLL_S)
    asyncio.run(race_async(system.run, work))
    DBOS.destroy()


if __name__ == "__main__":
    main(through_queue="queue" in sys.argv[2:])
