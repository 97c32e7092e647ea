"""Run one contender once and measure it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.contenders import Contender
from bench.meter import PeakMemory, Stopwatch, cpu_s
from bench.servers import Servers
from bench.work import STEPS, Work

READY_WITHIN_S = 120
LEAVE_WITHIN_S = 30
# Past this many times the ideal, and some minutes for a machine that is merely slow, the rest counts as lost.
PATIENCE = 6
PATIENCE_S = 180
ENDPOINT_TIMEOUT_S = 30.0


class ContenderError(Exception):
    """A contender did not come up, or fell silent; its log says why."""


@dataclass(frozen=True)
class Result:
    """One contender's one round.

    Attributes:
        makespan_s: from the word "go" until the contender knew of all ends.
        cpu_ms: user and system milliseconds a step of all its own processes.
        postgres_cpu_ms, redis_cpu_ms, endpoint_cpu_ms: the same of the servers meanwhile.
        done: steps the endpoint answered at least once.
        lost: steps it never answered.
        doubled: calls of a step after its first.
        failed: workflows that the contender itself calls failed, or never spoke of again.
        peak_rss_mb: most resident memory of its own processes together.
        most_open: most calls that waited at the endpoint at once.
    """

    contender: str
    makespan_s: float
    over_ideal: float
    cpu_ms: float
    postgres_cpu_ms: float
    redis_cpu_ms: float
    endpoint_cpu_ms: float
    done: int
    lost: int
    doubled: int
    failed: int
    peak_rss_mb: float
    most_open: int

    def to_json(self) -> dict[str, Any]:
        """Write it as JSON."""
        return asdict(self)


def race_once(contender: Contender, work: Work, servers: Servers, answer_bytes: int) -> Result:
    """Run one contender once, on an empty database and an empty Redis.

    Raises:
        ContenderError: it did not get as far as the start.
    """
    database = f"bench_{contender.name}"
    work = replace(
        work,
        database_url=servers.fresh_database(database),
        redis_url=servers.empty_redis(),
        copies=contender.copies,
        workers=contender.workers,
    )
    try:
        with _started(contender, work, servers, answer_bytes) as copies:
            return _measure(contender, work, servers, answer_bytes, copies)
    finally:
        servers.drop_database(database)


@contextlib.contextmanager
def _started(contender: Contender, work: Work, servers: Servers, answer_bytes: int) -> Iterator[list[Copy]]:
    """Bring up the contender's main processes one after another, each warmed up."""
    copies: list[Copy] = []
    try:
        _begin(servers, work.warm_up().latency_s, answer_bytes)
        for number in range(contender.copies):
            copies.append(Copy(contender, replace(work, copy=number)))
            copies[-1].hear("ready", READY_WITHIN_S)
        yield copies
    finally:
        for copy in copies:
            copy.leave()


def _measure(contender: Contender, work: Work, servers: Servers, answer_bytes: int, copies: list[Copy]) -> Result:
    _begin(servers, work.latency_s, answer_bytes)
    roots = [copy.pid for copy in copies]
    families = [roots, [servers.postgres_pid], [servers.redis_pid], [servers.endpoint_pid]]
    before = [cpu_s(*family) for family in families]
    failed = 0
    with PeakMemory(*roots) as memory:
        watch = Stopwatch()
        for copy in copies:
            copy.tell("go")
        deadline = time.monotonic() + PATIENCE * work.ideal_s + PATIENCE_S
        for copy in copies:
            failed += copy.hear_failures(deadline)
        makespan_s = watch.elapsed_s()
        after = [cpu_s(*family) for family in families]
    cpu = [1000 * (late - early) / work.steps for early, late in zip(before, after, strict=True)]
    counts = _ask(servers, "GET", "/counts")
    wanted = {f"{workflow}/{step}" for workflow in work.ids for step in STEPS}
    done = len(wanted & counts["answered"].keys())
    return Result(
        contender=contender.name,
        makespan_s=makespan_s,
        over_ideal=makespan_s / work.ideal_s,
        cpu_ms=cpu[0],
        postgres_cpu_ms=cpu[1],
        redis_cpu_ms=cpu[2],
        endpoint_cpu_ms=cpu[3],
        done=done,
        lost=len(wanted) - done,
        doubled=sum(times - 1 for times in counts["arrived"].values()),
        failed=failed,
        peak_rss_mb=memory.peak_mb,
        most_open=counts["most_open"],
    )


class Copy:
    """One main process of a contender, which leads a session of its own."""

    def __init__(self, contender: Contender, work: Work) -> None:
        """Start it."""
        self._name = contender.name
        self._log = Path(work.log)
        self._mine = len(work.own_ids)
        with self._log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", contender.module, work.to_json(), *contender.options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "LANGSMITH_TRACING": "false"},
            )

    @property
    def pid(self) -> int:
        """Its process id, which is its session's too."""
        return self._process.pid

    def tell(self, word: str) -> None:
        """Write it a line."""
        assert self._process.stdin is not None  # noqa: S101 - asked for at the start
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def hear(self, word: str, within_s: float) -> dict[str, Any]:
        """Wait for a word and return what was said with it; other output is passed over.

        Raises:
            ContenderError: it was not said in time.
        """
        assert self._process.stdout is not None  # noqa: S101 - asked for at the start
        deadline = time.monotonic() + within_s
        while (left_s := deadline - time.monotonic()) > 0:
            if not select.select([self._process.stdout], [], [], left_s)[0]:
                break
            line = self._process.stdout.readline()
            if not line:
                raise ContenderError(f"{self._name} ended instead of saying {word!r}; see {self._log}")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said: dict[str, Any] = json.loads(line)
                if said["word"] == word:
                    return said
        raise ContenderError(f"{self._name} did not say {word!r} within {within_s:.0f} s; see {self._log}")

    def hear_failures(self, deadline: float) -> int:
        """Wait for the end and return how many workflows failed; silence fails them all."""
        try:
            return int(self.hear("done", max(0.0, deadline - time.monotonic()))["failed"])
        except ContenderError as silent:
            print(f"  {silent}", file=sys.stderr)
            return self._mine

    def leave(self) -> None:
        """Let it end, and end by force what is left of its session."""
        with contextlib.suppress(BrokenPipeError):
            self.tell("leave")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def _begin(servers: Servers, latency_s: float, answer_bytes: int) -> None:
    _ask(servers, "POST", f"/begin/{latency_s}/{answer_bytes}")


def _ask(servers: Servers, method: str, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", servers.endpoint_port, timeout=ENDPOINT_TIMEOUT_S)
    try:
        connection.request(method, path)
        told: dict[str, Any] = json.load(connection.getresponse())
    finally:
        connection.close()
    return told
