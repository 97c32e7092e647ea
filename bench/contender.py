"""How a contender's process talks with the driver: ready, go, done, over its standard streams.

Between `go` and `done` the driver counts processor time; starting up, warming up and tearing down stay outside.
Each main process leads a session of the operating system, by which the driver finds whatever it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from bench.endpoint import allow_files
from bench.work import Work

PATIENCE_S = 20


def given_work() -> Work:
    """Read the work from the command line and allow this process enough open files."""
    allow_files()
    return Work.from_json(sys.argv[1])


def say(word: str, **facts: object) -> None:
    """Tell the driver."""
    print(json.dumps({"word": word, **facts}), flush=True)


def race(run: Callable[[Work], int], work: Work) -> None:
    """Warm up, wait for the start, do the work.

    Args:
        run: starts all workflows of a round at once and returns when all ended, with the number that did not end well.
        work: the round that counts.
    """
    run(work.warm_up())
    gc.collect()
    say("ready")
    sys.stdin.readline()
    say("done", failed=run(work))
    sys.stdin.readline()


async def race_async(run: Callable[[Work], Awaitable[int]], work: Work) -> None:
    """Do as `race` does, on this event loop."""
    await run(work.warm_up())
    gc.collect()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    say("done", failed=await run(work))
    await asyncio.to_thread(sys.stdin.readline)


def start(module: str, *arguments: str, log: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a further process of this contender in our session; what it prints goes to the file `log`."""
    with Path(log).open("a", encoding="utf-8") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            env={**os.environ, **(environment or {})},
        )


def stop(processes: Iterable[subprocess.Popen[str]]) -> None:
    """Ask processes to end, and kill those that do not."""
    started = list(processes)
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
