"""Measure what one caller feels: `python -m bench.latency`.

Three questions, asked over HTTP of a system that was started for them with the commands of `batuta up`:

1. idle: from sending a POST to the start of the run's first step;
2. in sequence: what one light step after another costs each;
3. queues: how the first starts divide when high, medium and low all wait, and whether low alone runs at full speed.

With `--url` the first two are asked of a system that runs already.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import socket
import statistics
import sys
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from app.bootstrap import build
from app.schema import upgrade_schema
from app.settings import Settings
from bench.batuta_processes import WEB, WORKERS, await_workers, environment_for, start_programs
from bench.contender import stop
from bench.report import describe_machine
from bench.servers import Servers, running_servers

POSTS = 200
SEQUENCES = 20
STEPS_IN_SEQUENCE = 40
WARM_UP_POSTS = 20
PRIORITIES = ("high", "medium", "low")
SHARES = {"high": 0.6, "medium": 0.3, "low": 0.1}
WAITING_EACH = 300
COUNTED_STARTS = 200
QUEUE_WORKERS = 2
QUEUE_PLACES = 4  # steps a worker may hold at once: few, so that the others wait in their queues
HELD_S = 0.05
UP_WITHIN_S = 60
ENDED = {"completed", "partial", "failed", "cancelled"}


class Caller:
    """One caller on one kept connection."""

    def __init__(self, url: str, token: str = "") -> None:
        """Call the system at `url`."""
        parts = urllib.parse.urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=300)
        self._headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def start(self, blocks: list[dict[str, Any]], priority: str = "medium") -> str:
        """POST a workflow without waiting for it; returns the run's id."""
        answer = self._ask("POST", "/workflow", {"workflow": blocks, "priority": priority})
        run_id: str = answer["task_id"]
        return run_id

    def run(self, run_id: str) -> dict[str, Any]:
        """Read a run with its steps."""
        return self._ask("GET", f"/runs/{run_id}")

    def ended_run(self, run_id: str) -> dict[str, Any]:
        """Wait for a run's end and read it."""
        while True:
            answer = self._ask("GET", f"/runs/{run_id}/wait?timeout=60")
            if answer.get("status") in ENDED:
                return self.run(run_id)

    def is_up(self) -> bool:
        """Tell whether the system answers."""
        try:
            self._ask("GET", "/health")
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            return False
        return True

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        payload = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, payload, self._headers)
            answer = self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):  # let go while idle
            self._connection.close()
            self._connection.request(method, path, payload, self._headers)
            answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise ValueError(f"{method} {path} answered {answer.status}: {text[:500]!r}")
        read: dict[str, Any] = json.loads(text)
        return read


@dataclass(frozen=True)
class Figures:
    """Many measurements of one thing, in milliseconds."""

    title: str
    values_ms: list[float]

    def to_json(self) -> dict[str, Any]:
        """Write count, median, 95th percentile and the extremes."""
        ordered = sorted(self.values_ms)
        return {
            "count": len(ordered),
            "median_ms": round(statistics.median(ordered), 2),
            "p95_ms": round(ordered[max(0, -(-95 * len(ordered) // 100) - 1)], 2),
            "least_ms": round(ordered[0], 2),
            "most_ms": round(ordered[-1], 2),
        }

    def row(self) -> str:
        """Write a row of the table."""
        told = self.to_json()
        span = f"{told['least_ms']}..{told['most_ms']}"
        return f"| {self.title} | {told['median_ms']} | {told['p95_ms']} | {span} | {told['count']} |"


def light_steps(count: int) -> list[dict[str, Any]]:
    """Write a block of steps in sequence that do next to nothing."""
    tasks = [{"id": f"s{number}", "tool": "echo", "input": {"number": number}} for number in range(count)]
    return [{"type": "inline", "tasks": tasks}]


def held_step() -> list[dict[str, Any]]:
    """Write a block of one step that holds its place for a moment."""
    return [{"type": "inline", "tasks": [{"tool": "wait", "input": {"seconds": HELD_S}}]}]


def instant(text: str) -> float:
    """Read an ISO time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def measure_idle(caller: Caller, posts: int) -> list[Figures]:
    """POST one light step again and again, each after the last has ended."""
    for _ in range(WARM_UP_POSTS):
        caller.ended_run(caller.start(light_steps(1)))
    to_start, to_answer = [], []
    for _ in range(posts):
        sent = time.time()
        run_id = caller.start(light_steps(1))
        answered = time.time()
        step = caller.ended_run(run_id)["steps"][0]
        to_start.append(1000 * (instant(step["started_at"]) - sent))
        to_answer.append(1000 * (answered - sent))
    return [Figures("POST sent → first step started, idle", to_start), Figures("POST sent → its 202", to_answer)]


def measure_sequence(caller: Caller, sequences: int) -> Figures:
    """Run many light steps in sequence, several times; what a step costs is the run's length over their number."""
    each = []
    for _ in range(sequences):
        steps = caller.ended_run(caller.start(light_steps(STEPS_IN_SEQUENCE)))["steps"]
        begun = min(instant(step["started_at"]) for step in steps)
        ended = max(instant(step["finished_at"]) for step in steps)
        each.append(1000 * (ended - begun) / STEPS_IN_SEQUENCE)
    return Figures(f"a light step of {STEPS_IN_SEQUENCE} in sequence", each)


@dataclass(frozen=True)
class Backlog:
    """What happened when workers came to full queues: each step's priority, start and end."""

    steps: list[tuple[str, float, float]]

    def division(self, first: int) -> dict[str, float]:
        """Say which share of the first starts each priority had."""
        taken = Counter(priority for priority, _, _ in sorted(self.steps, key=lambda step: step[1])[:first])
        return {priority: round(taken[priority] / first, 3) for priority in PRIORITIES}

    def speed(self) -> float:
        """Count starts a second in their middle half, when every worker is up and the queue is not yet empty."""
        starts = sorted(start for _, start, _ in self.steps)
        early, late = len(starts) // 4, 3 * len(starts) // 4
        return (late - early) / (starts[late] - starts[early])


def drain_backlog(caller: Caller, system: System, waiting: dict[str, int]) -> Backlog:
    """Let runs pile up while there is no worker, start the workers, and see in which order they take."""
    system.stop_workers()
    priorities = [priority for priority, count in waiting.items() for _ in range(count)]
    started = [(priority, caller.start(held_step(), priority)) for priority in priorities]
    system.start_workers()
    steps = []
    for priority, run_id in started:
        step = caller.ended_run(run_id)["steps"][0]
        steps.append((priority, instant(step["started_at"]), instant(step["finished_at"])))
    return Backlog(steps)


class System:
    """Web and workers on the benchmark's servers."""

    def __init__(self, servers: Servers, log: str, **settings: object) -> None:
        """Prepare a fresh database; nothing runs yet."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        database_url = servers.fresh_database("bench_latency")
        self._environment = environment_for(
            database_url, servers.empty_redis(), PORT=self._port, API_TOKENS="", **settings
        )
        self._log = log
        self._settings = Settings.from_env(self._environment)
        upgrade_schema(self._settings.storage.database_url)
        self._application = build(self._settings)
        self._web = start_programs(self._environment, {WEB}, log)
        self._workers: list[Any] = []

    def caller(self) -> Caller:
        """Connect to the web process once it answers."""
        caller = Caller(f"http://127.0.0.1:{self._port}")
        deadline = time.monotonic() + UP_WITHIN_S
        while not caller.is_up():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the web process does not answer; see {self._log}")
            time.sleep(0.1)
        return caller

    def start_workers(self) -> None:
        """Start the worker processes; returns once they answer."""
        self._workers = start_programs(self._environment, {WORKERS}, self._log)
        await_workers(self._application, self._settings.engine.worker_processes)

    def stop_workers(self) -> None:
        """Let the worker processes end."""
        stop(self._workers)
        self._workers = []

    def close(self) -> None:
        """Stop everything."""
        self.stop_workers()
        stop(self._web)
        self._application.engine.dispose()


@contextlib.contextmanager
def running_system(servers: Servers, log: str, **settings: object) -> Iterator[System]:
    """Run a system while the block lasts."""
    system = System(servers, log, **settings)
    try:
        yield system
    finally:
        system.close()


def measure_queues(servers: Servers, log: str, waiting_each: int) -> dict[str, Any]:
    """Fill the queues, and see how they drain."""
    places = {"WORKER_PROCESSES": QUEUE_WORKERS, "WORKER_CONCURRENCY": QUEUE_PLACES}
    with running_system(servers, log, **places) as system:
        caller = system.caller()
        mixed = drain_backlog(caller, system, dict.fromkeys(PRIORITIES, waiting_each))
        high = drain_backlog(caller, system, {"high": waiting_each})
        low = drain_backlog(caller, system, {"low": waiting_each})
    counted = min(COUNTED_STARTS, waiting_each * 2 // 3)  # high must not run dry meanwhile
    return {
        "waiting_each": waiting_each,
        "counted_starts": counted,
        "division": mixed.division(counted),
        "wanted": SHARES,
        "low_alone_per_s": round(low.speed(), 1),
        "high_alone_per_s": round(high.speed(), 1),
        "ideal_per_s": QUEUE_WORKERS * QUEUE_PLACES / HELD_S,
    }


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="ask a running system the first two questions")
    parser.add_argument("--token", default="", help="for --url")
    parser.add_argument("--posts", type=int, default=POSTS)
    parser.add_argument("--sequences", type=int, default=SEQUENCES)
    parser.add_argument("--waiting", type=int, default=WAITING_EACH, help="runs that wait in each queue; 0: skip")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"), help="data and logs while it runs")
    parser.add_argument("--json", type=Path, default=Path("var/bench/latency.json"))
    return parser.parse_args()


def main() -> int:
    """Measure, print tables, write the JSON file; figures decide nothing."""
    arguments = read_arguments()
    machine = describe_machine()
    queues: dict[str, Any] = {}
    if arguments.url:
        figures = measure_one_caller(Caller(arguments.url, arguments.token), arguments)
    else:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        log = str((arguments.folder / "latency.log").absolute())
        Path(log).write_text(f"{time.ctime()}\n", encoding="utf-8")
        with running_servers(arguments.folder) as servers:
            with running_system(servers, log) as system:
                system.start_workers()
                figures = measure_one_caller(system.caller(), arguments)
            if arguments.waiting:
                queues = measure_queues(servers, log, arguments.waiting)
    print_report(machine, figures, queues)
    told = {"machine": machine, "figures": {each.title: each.to_json() for each in figures}, "queues": queues}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return 0


def measure_one_caller(caller: Caller, arguments: argparse.Namespace) -> list[Figures]:
    """Ask the first two questions."""
    return [*measure_idle(caller, arguments.posts), measure_sequence(caller, arguments.sequences)]


def print_report(machine: dict[str, str], figures: list[Figures], queues: dict[str, Any]) -> None:
    """Print the tables."""
    print("; ".join(f"{name} {value}" for name, value in machine.items()))
    print("\n| ms | median | p95 | least..most | measured |\n|---|---|---|---|---|")
    print("\n".join(each.row() for each in figures))
    if queues:
        print(f"\nFirst {queues['counted_starts']} starts with {queues['waiting_each']} waiting in each queue:\n")
        print("| queue | share | wanted |\n|---|---|---|")
        print("\n".join(f"| {name} | {queues['division'][name]:.3f} | {SHARES[name]} |" for name in PRIORITIES))
        print(
            f"\nAlone: low {queues['low_alone_per_s']} steps/s, high {queues['high_alone_per_s']}, "
            f"ideal {queues['ideal_per_s']:.0f}."
        )


if __name__ == "__main__":
    sys.exit(main())
