"""What the journal's functions cost PostgreSQL: `python -m bench.journal`.

The race's work (one call, four side by side, one) is walked through by one connection: claim what was sent, finish it,
in batches, with a tool's output of the race's size. No worker, no broker, no network: what remains is the processor
time of the backend, which hardly depends on what else the machine does. Commits are not awaited.

Prints the milliseconds of processor time of a claim and of a finish, then where they go by function.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
import sqlalchemy as sa

from app.runs.journal import STATEMENT, connect
from app.runs.model import RunRequest, new_run_id
from app.runs.store import PgRunStore
from app.runs.submission import submission_rows
from app.schema import upgrade_schema
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from bench.meter import read_process
from bench.servers import Servers, running_servers
from bench.work import FIRST, LAST, MIDDLE

LEASE_S = 60.0
PROCESS = "00000000-0000-4000-8000-000000000001"
OUTPUT = {"text": "x" * 512}
FUNCTIONS = """
select funcname, calls, self_time, total_time from pg_stat_user_functions order by self_time desc limit %s
"""


class Walk:
    """Some runs, seen through by one connection.

    Args:
        dsn: of a database with the schema.
        batch: operations a transaction.
    """

    def __init__(self, dsn: str, batch: int) -> None:
        self._connection = connect(dsn)
        self._batch = batch
        self._pid = self._connection.info.backend_pid
        with self._connection.cursor() as cursor:
            cursor.execute("set synchronous_commit = off")
            cursor.execute("set track_functions = 'pl'")
            cursor.execute(
                "insert into processes (process_id, role, name, expires_at) values (%s, 'bench', 'bench', 'infinity')",
                (PROCESS,),
            )

    def see_through(self, sends: list[dict[str, Any]]) -> tuple[float, float, int]:
        """Claim and finish until nothing is sent any more.

        Returns:
            Processor seconds of all claims, of all finishes, and how many steps there were.
        """
        claims_s = finishes_s = 0.0
        steps = 0
        while sends:
            answers, spent_s, _ = self._write([_claim(send) for send in sends])
            claims_s += spent_s
            done = [_finish(send, answer) for send, answer in zip(sends, answers, strict=True)]
            steps += len(done)
            _, spent_s, sends = self._write(done)
            finishes_s += spent_s
        return claims_s, finishes_s, steps

    def _write(self, operations: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], float, list[dict[str, Any]]]:
        answers: list[dict[str, Any]] = []
        sends: list[dict[str, Any]] = []
        before = self._cpu_s()
        with self._connection.cursor() as cursor:
            for part in _parts(operations, self._batch):
                cursor.execute(STATEMENT, (PROCESS, LEASE_S, json.dumps(part)))
                row = cursor.fetchone()
                assert row is not None  # noqa: S101 - the function always returns a row
                answers += row[0]
                sends += [send for effect in row[1] for send in effect["sends"]]
        return answers, self._cpu_s() - before, sends

    def _cpu_s(self) -> float:
        process = read_process(self._pid)
        assert process is not None  # noqa: S101 - the connection is open
        return process.cpu_s

    def functions(self, most: int) -> list[tuple[str, int, float, float]]:
        """List the dearest functions: name, calls, own milliseconds, milliseconds with what they call."""
        with self._connection.cursor() as cursor:
            cursor.execute("select pg_stat_force_next_flush()")
            cursor.execute("select pg_stat_clear_snapshot()")
            cursor.execute(FUNCTIONS, (most,))
            return cursor.fetchall()

    @property
    def connection(self) -> psycopg2.extensions.connection:
        """The one connection."""
        return self._connection


def submit(url: str, runs: int) -> list[dict[str, Any]]:
    """Write the runs, not counted; returns the messages of their first steps."""
    tasks = [{"id": name, "tool": "call", "input": {"id": name}} for name in (FIRST, *MIDDLE, LAST)]
    document = [
        {"type": "inline", "tasks": tasks[:1]},
        {"type": "linear", "tasks": tasks[1:-1]},
        {"type": "inline", "tasks": tasks[-1:]},
    ]
    catalog = Catalog(models=frozenset(), agents=frozenset(), tools=frozenset({"call"}), addons=frozenset())
    request = RunRequest(kind="workflow", workflow=parse_workflow(document, {}, catalog=catalog), owner="local")
    engine = sa.create_engine(url)
    sends: list[dict[str, Any]] = []
    try:
        store = PgRunStore(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("select batuta_resize_admission(:runs)"), {"runs": runs})
        for _ in range(runs):
            with engine.begin() as connection:
                _, effects = store.submit(connection, submission_rows(new_run_id(), request))
            sends += [{"run": send.run_id, "key": send.key} for send in effects.sends]
    finally:
        engine.dispose()
    return sends


def _claim(send: dict[str, Any]) -> dict[str, Any]:
    return {"op": "claim", "run": send["run"], "key": send["key"], "claim": f"{send['run']}/{send['key']}"}


def _finish(send: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    place = {"run": send["run"], "key": send["key"], "fence": answer["fence"]}
    return {"op": "finish", **place, "status": "completed", "output": OUTPUT}


def _parts(operations: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(operations), size):
        yield operations[start : start + size]


def measure(servers: Servers, arguments: argparse.Namespace) -> None:
    """Walk some rounds, each on an empty database, and print what they cost."""
    claims: list[float] = []
    finishes: list[float] = []
    for number in range(arguments.rounds):
        dsn = servers.fresh_database("bench_journal")
        url = dsn.replace("postgresql://", "postgresql+psycopg2://")
        upgrade_schema(url)
        sends = submit(url, arguments.runs)
        walk = Walk(dsn, arguments.batch)
        claims_s, finishes_s, steps = walk.see_through(sends)
        claims.append(1000 * claims_s / steps)
        finishes.append(1000 * finishes_s / steps)
        print(f"round {number + 1}: {steps} steps, claim {claims[-1]:.3f} ms, finish {finishes[-1]:.3f} ms", flush=True)
        if number == arguments.rounds - 1:
            report_functions(walk, steps)
        walk.connection.close()
        servers.drop_database("bench_journal")
    for name, times in (("claim", claims), ("finish", finishes)):
        print(f"{name}: median {statistics.median(times):.3f} ms ({min(times):.3f}..{max(times):.3f})")


def report_functions(walk: Walk, steps: int) -> None:
    """Print where the last round's time went."""
    print(f"{'function':<28} {'calls/step':>10} {'own ms/step':>12} {'all ms/step':>12}")
    for name, calls, own_ms, all_ms in walk.functions(12):
        spent = (Decimal(calls) / steps, Decimal(own_ms) / steps, Decimal(all_ms) / steps)
        print(f"{name:<28} {spent[0]:>10.2f} {spent[1]:>12.3f} {spent[2]:>12.3f}")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.journal", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="of six steps each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=50, help="operations a transaction")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"))
    arguments = parser.parse_args()
    with running_servers(arguments.folder) as servers:
        measure(servers, arguments)


if __name__ == "__main__":
    main()
