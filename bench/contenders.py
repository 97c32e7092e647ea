"""Who takes part, and how each is started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """One system.

    Attributes:
        name: what the command line calls it.
        title: what the table calls it.
        module: its main process is `python -m` this.
        options: further words on its command line.
        copies: main processes among which the workflows are dealt out.
        workers: worker processes that a contender with a broker starts itself.
        packages: distributions whose versions the report names.
        durable: whether a killed process loses no workflow; the table marks those that may.
    """

    name: str
    title: str
    module: str
    options: tuple[str, ...] = ()
    copies: int = 1
    workers: int = 2
    packages: tuple[str, ...] = ()
    durable: bool = True


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("bare", "no engine", "bench.bare_system", durable=False),
        Contender(
            "celery", "Celery canvas", "bench.celery_system", packages=("celery", "kombu", "redis"), durable=False
        ),
        Contender(
            "celery-4",
            "Celery canvas, 4 workers",
            "bench.celery_system",
            workers=4,
            packages=("celery", "kombu", "redis"),
            durable=False,
        ),
        Contender("dbos", "DBOS, started directly", "bench.dbos_system", copies=2, packages=("dbos",)),
        Contender("dbos-queue", "DBOS, its queue", "bench.dbos_system", ("queue",), copies=2, packages=("dbos",)),
        Contender(
            "langgraph",
            "LangGraph",
            "bench.langgraph_system",
            ("async",),
            copies=2,
            packages=("langgraph", "langgraph-checkpoint-postgres"),
        ),
        Contender(
            "langgraph-sync",
            "LangGraph, sync",
            "bench.langgraph_system",
            ("sync",),
            copies=2,
            packages=("langgraph", "langgraph-checkpoint-postgres"),
        ),
        Contender("batuta", "Batuta", "bench.batuta_system", packages=("celery", "kombu", "redis")),
    )
}

# The others are variants, to see that each peer was given its best.
DEFAULT = ("bare", "celery", "dbos", "langgraph", "batuta")
