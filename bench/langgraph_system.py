"""LangGraph with its PostgreSQL checkpointer, on one event loop a process.

Its durability is the first word on the command line: `async`, its default, writes a checkpoint while the next step
runs already, so that a killed process may repeat finished calls; `sync` writes it before, as the others here do.
"""

from __future__ import annotations

import asyncio
import operator
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated, Any, Literal, TypedDict, cast

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from bench.client import AwaitingClient
from bench.contender import given_work, race_async
from bench.work import FIRST, LAST, MIDDLE, Work

# A saver does one thing at a time behind a lock, whatever pool it is given; so a process has several.
SAVERS = 4
Durability = Literal["sync", "async", "exit"]


class State(TypedDict):
    """What a workflow's nodes share."""

    workflow: str
    answers: Annotated[list[str], operator.add]


def build_graph(client: AwaitingClient, saver: AsyncPostgresSaver) -> CompiledStateGraph[State, Any, Any, Any]:
    """Draw first → a, b, c, d → last, with one call each."""

    async def call(step: str, state: State) -> dict[str, list[str]]:
        return {"answers": [await client.call(state["workflow"], step)]}

    graph = StateGraph(State)
    for step in (FIRST, *MIDDLE, LAST):
        graph.add_node(step, partial(call, step))
    graph.add_edge(START, FIRST)
    for step in MIDDLE:
        graph.add_edge(FIRST, step)
    graph.add_edge(list(MIDDLE), LAST)
    graph.add_edge(LAST, END)
    return graph.compile(checkpointer=saver)


class LangGraphSystem:
    """One process's share of the workflows, dealt out over its graphs."""

    def __init__(self, graphs: list[CompiledStateGraph[State, Any, Any, Any]], durability: Durability) -> None:
        """Run on these, which differ only in their saver."""
        self._graphs = graphs
        self._durability = durability

    async def run(self, work: Work) -> int:
        """Run this copy's workflows at once; returns how many failed."""
        runs = [
            self._graphs[number % len(self._graphs)].ainvoke(
                {"workflow": workflow, "answers": []},
                {"configurable": {"thread_id": workflow}},
                durability=self._durability,
            )
            for number, workflow in enumerate(work.own_ids)
        ]
        ended = await asyncio.gather(*runs, return_exceptions=True)
        return sum(isinstance(end, BaseException) for end in ended)


async def main() -> None:
    """Connect the savers, make their tables and race."""
    work = given_work()
    client = AwaitingClient(work.port)
    async with AsyncExitStack() as stack:
        savers = [
            await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(work.database_url))
            for _ in range(SAVERS)
        ]
        await savers[0].setup()
        graphs = [build_graph(client, saver) for saver in savers]
        await race_async(LangGraphSystem(graphs, cast("Durability", sys.argv[2])).run, work)


if __name__ == "__main__":
    asyncio.run(main())
