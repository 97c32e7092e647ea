"""What a caller feels who sends likes while the system trains: `python -m bench.likes --url http://127.0.0.1:8001`.

Likes go out at a fixed pace whatever the answers do (an open loop), so that a slow answer cannot hide behind a later
request. Learning cycles are triggered one after another meanwhile. Every like names a record of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections import Counter
from typing import Any

import aiohttp

PROMPTS = 480  # enough rows for a training that is one
LIKED = 120
CONNECTIONS = 50


async def seed(session: aiohttp.ClientSession) -> None:
    """Make prompts and like a quarter of them, so that a cycle has something to learn."""
    async with session.post("/events/manual_generate", json={"num_prompts": PROMPTS}) as answer:
        answer.raise_for_status()
    prompts: list[dict[str, Any]] = []
    page = 1
    while len(prompts) < PROMPTS:
        async with session.get("/prompts", params={"page": page, "page_size": 200}) as answer:
            found = await answer.json()
        if not found:
            break
        prompts += found
        page += 1
    for prompt in prompts[: LIKED * 4 : 4]:
        await like(session, prompt["structure_id"])


async def like(session: aiohttp.ClientSession, structure_id: str) -> tuple[int, float]:
    """Send one like; returns the status and the seconds it took."""
    body = {"record_id": f"rec{uuid.uuid4().hex[:14]}", "structure_id": structure_id}
    began = time.perf_counter()
    async with session.post("/events/like", json=body) as answer:
        await answer.read()
        return answer.status, time.perf_counter() - began


async def keep_training(session: aiohttp.ClientSession, stop: asyncio.Event) -> int:
    """Trigger a cycle whenever none runs; returns how many were."""
    triggered = 0
    while not stop.is_set():
        async with session.post("/trigger_retrain") as answer:
            triggered += answer.status == 200  # noqa: PLR2004
        await asyncio.sleep(0.2)
    return triggered


async def measure(arguments: argparse.Namespace) -> None:
    """Send the likes and print what they took."""
    headers = {"Authorization": f"Bearer {arguments.token}"} if arguments.token else {}
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(arguments.url, headers=headers, connector=connector) as session:
        await seed(session)
        for training in (False, True):
            stop = asyncio.Event()
            trainer = asyncio.create_task(keep_training(session, stop)) if training else None
            await asyncio.sleep(1)
            results = await send_at_pace(session, arguments.rate, arguments.seconds)
            stop.set()
            cycles = await trainer if trainer is not None else 0
            report(results, training=training, cycles=cycles)


async def send_at_pace(session: aiohttp.ClientSession, rate: float, seconds: float) -> list[tuple[int, float]]:
    """Send `rate` likes a second, evenly, without waiting for answers."""
    began = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(like(session, str(number % 16 + 1))))
    return await asyncio.gather(*tasks)


def report(results: list[tuple[int, float]], *, training: bool, cycles: int) -> None:
    """Print one line."""
    times_ms = sorted(1000 * seconds for _, seconds in results)
    p95 = statistics.quantiles(times_ms, n=20)[-1]
    what = f"while {cycles} cycles were started" if training else "no cycle"
    print(
        f"{len(results)} likes, {what}: median {statistics.median(times_ms):.1f} ms, p95 {p95:.1f} ms, "
        f"most {times_ms[-1]:.1f} ms; answers {dict(Counter(status for status, _ in results))}"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.likes", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8001")
    parser.add_argument("--token", default="")
    parser.add_argument("--rate", type=float, default=100.0, help="likes a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
