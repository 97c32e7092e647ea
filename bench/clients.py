"""Measure HTTP clients at the endpoint, to choose the one that costs the engines least: `python -m bench.clients`.

Each candidate keeps so many calls of one second in flight, in a process of its own; the figure is user and system time
a call. `bench/README.md` has the table and the choice.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import httpx2
import urllib3

from bench.client import AwaitingClient, BlockingClient
from bench.contender import stop
from bench.endpoint import allow_files
from bench.servers import start_endpoint

LATENCY_S = 1.0
ANSWER_BYTES = 200
IN_FLIGHT = (50, 500, 2000)
CALLS = 1000  # at least, and three a caller
TIMEOUT_S = 600

Awaited = Callable[[str, str], Awaitable[Any]]
Blocked = Callable[[str, str], Any]


def path_of(workflow: str, step: str) -> str:
    """Write the endpoint's path of a call."""
    return f"/call/{workflow}/{step}"


async def with_ours(port: int, measure: Callable[[Awaited], Awaitable[float]]) -> float:
    """Measure `bench.client`, awaiting."""
    return await measure(AwaitingClient(port).call)


async def with_aiohttp(port: int, measure: Callable[[Awaited], Awaitable[float]]) -> float:
    """Measure aiohttp with one session and no limit on connections."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(workflow: str, step: str) -> bytes:
            async with session.get(path_of(workflow, step)) as answer:
                return await answer.read()

        return await measure(call)


async def with_httpx2(port: int, measure: Callable[[Awaited], Awaitable[float]]) -> float:
    """Measure httpx2 with one client and no limit on connections."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=TIMEOUT_S) as client:

        async def call(workflow: str, step: str) -> bytes:
            content: bytes = (await client.get(path_of(workflow, step))).content
            return content

        return await measure(call)


def our_blocking(port: int) -> Blocked:
    """Make `bench.client`, blocking."""
    return BlockingClient(port).call


def standard_library(port: int) -> Blocked:
    """Make http.client with a pool of connections."""
    idle: list[http.client.HTTPConnection] = []

    def call(workflow: str, step: str) -> bytes:
        connection = idle.pop() if idle else http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", path_of(workflow, step))
        body = connection.getresponse().read()
        idle.append(connection)
        return body

    return call


def with_urllib3(port: int) -> Blocked:
    """Make urllib3 with a pool as large as the calls in flight."""
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=max(IN_FLIGHT))

    def call(workflow: str, step: str) -> bytes:
        return pool.request("GET", path_of(workflow, step)).data

    return call


def ours_over_a_loop(port: int) -> Blocked:
    """Make `bench.client`, awaiting on a loop's thread for threads that block."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    client = AwaitingClient(port)

    def call(workflow: str, step: str) -> str:
        return asyncio.run_coroutine_threadsafe(client.call(workflow, step), loop).result()

    return call


AWAITING: dict[str, Callable[[int, Callable[[Awaited], Awaitable[float]]], Awaitable[float]]] = {
    "bench.client, awaiting": with_ours,
    "aiohttp": with_aiohttp,
    "httpx2": with_httpx2,
}
BLOCKING: dict[str, Callable[[int], Blocked]] = {
    "bench.client, blocking": our_blocking,
    "http.client in threads": standard_library,
    "urllib3 in threads": with_urllib3,
    "bench.client on a loop's thread": ours_over_a_loop,
}


async def measure_awaiting(call: Awaited, in_flight: int, each: int) -> float:
    """Keep calls in flight as coroutines; returns processor milliseconds a call."""

    async def caller(number: int) -> None:
        for turn in range(each):
            await call(str(number), str(turn))

    before = time.process_time()
    await asyncio.gather(*map(caller, range(in_flight)))
    return 1000 * (time.process_time() - before) / (in_flight * each)


def measure_blocking(call: Blocked, in_flight: int, each: int) -> float:
    """Keep calls in flight as threads; returns processor milliseconds a call."""

    def caller(number: int) -> None:
        for turn in range(each):
            call(str(number), str(turn))

    threads = [threading.Thread(target=caller, args=(number,), daemon=True) for number in range(in_flight)]
    before = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1000 * (time.process_time() - before) / (in_flight * each)


def measure_here(name: str, port: int, in_flight: int) -> float:
    """Measure one candidate in this process."""
    each = max(3, CALLS // in_flight)
    if name in AWAITING:

        async def measure(call: Awaited) -> float:
            return await measure_awaiting(call, in_flight, each)

        return asyncio.run(AWAITING[name](port, measure))  # type: ignore[arg-type]  # an async def is a coroutine
    return measure_blocking(BLOCKING[name](port), in_flight, each)


def measure_elsewhere(name: str, port: int, in_flight: int) -> float:
    """Measure one candidate in a process of its own."""
    command = [sys.executable, "-m", "bench.clients", "--one", name, "--port", str(port), "--in-flight", str(in_flight)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout)


def main() -> int:
    """Print a table of all candidates."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__.partition("\n")[0])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--in-flight", type=int, nargs="+", default=IN_FLIGHT)
    arguments = parser.parse_args()
    allow_files()
    if arguments.one:
        print(measure_here(arguments.one, arguments.port, arguments.in_flight[0]), flush=True)
        return 0
    endpoint, port = start_endpoint()
    try:
        begin = http.client.HTTPConnection("127.0.0.1", port)
        begin.request("POST", f"/begin/{LATENCY_S}/{ANSWER_BYTES}")
        begin.getresponse().read()
        print("| CPU ms a call, in flight | " + " | ".join(map(str, arguments.in_flight)) + " |")
        print("|---" * (len(arguments.in_flight) + 1) + "|")
        for name in (*AWAITING, *BLOCKING):
            cells = [f"{measure_elsewhere(name, port, count):.2f}" for count in arguments.in_flight]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    finally:
        stop([endpoint])
    return 0


if __name__ == "__main__":
    sys.exit(main())
