"""What a chat of category M takes, from the POST to its answer: `python -m bench.chat --start`.

`--start` brings up a system of its own with `batuta up`, and a simulator that answers at once and always says M; both
are stopped again. So the figure is what the system itself takes: the door, the queue, two questions with their rows in
the ledger, the session, and the way back. `--url` asks a system that runs already, whatever its models are.

Chats are sent one after another, each as soon as the one before is answered; each opens a session of its own, or, with
`--turns`, goes on with one. The questions to the vendor alone, asked by the same client, are the least it could be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.own_system import ROOT, OwnSystem, own_system
from bench.report import describe_machine
from simulator import Simulator

BEAR_WITH = 20  # chats before the first that counts: connections are made, caches filled
SORTS = "You sort one request"
PERCENTILES = 20


@dataclass(frozen=True)
class Times:
    """What chats took."""

    ms: list[float]
    answers: Counter[str]

    def __str__(self) -> str:
        """Write one line."""
        cuts = statistics.quantiles(self.ms, n=PERCENTILES)
        return (
            f"{len(self.ms)} chats: median {statistics.median(self.ms):.1f} ms, p95 {cuts[-1]:.1f} ms, "
            f"most {max(self.ms):.1f} ms; {dict(self.answers)}"
        )


async def time_chats(session: aiohttp.ClientSession, count: int, turns: int, lanes: int) -> Times:
    """Send chats in so many lanes side by side, one after another in each."""
    times: list[float] = []
    answers: Counter[str] = Counter()

    async def lane(number: int) -> None:
        session_id = ""
        for place in range(count // lanes):
            if place % turns == 0:
                session_id = ""
            body = {"message": f"Why is the sea salt? ({number}.{place})", "session_id": session_id}
            began = time.perf_counter()
            async with session.post("/chat", json=body) as response:
                answer: dict[str, Any] = await response.json()
            times.append(1000 * (time.perf_counter() - began))
            session_id = answer.get("session_id", "")
            answers[f"{response.status} {answer.get('category')} {answer.get('model_used')}"] += 1

    await asyncio.gather(*(lane(number) for number in range(lanes)))
    return Times(times, answers)


async def time_vendor(url: str, count: int) -> Times:
    """Ask the simulator alone: two questions, as a chat does."""
    times: list[float] = []
    messages = [{"role": "user", "content": "Why is the sea salt?"}]
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer x"}) as session:
        for _ in range(count):
            began = time.perf_counter()
            for _ in range(2):
                body = {"model": "gpt-6-luna", "messages": messages, "max_completion_tokens": 100}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    response.raise_for_status()
                    await response.read()
            times.append(1000 * (time.perf_counter() - began))
    return Times(times, Counter({"two questions": count}))


async def measure(arguments: argparse.Namespace, url: str, simulator: Simulator | None, own: OwnSystem | None) -> None:
    """Send the chats and print what they took."""
    headers = {"Authorization": f"Bearer {arguments.token}"} if arguments.token else {}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        await time_chats(session, BEAR_WITH, 1, 1)
        if simulator is not None:
            print(f"the vendor alone: {await time_vendor(simulator.openai_url, arguments.chats)}")
        for lanes in (*([1] * arguments.rounds), arguments.lanes):
            used = own.cpu_s() if own is not None else {}
            times = await time_chats(session, arguments.chats, arguments.turns, lanes)
            print(f"{lanes:>2} at once  {times}{_cpu(own, used, len(times.ms))}")


def _cpu(own: OwnSystem | None, before: dict[str, float], chats: int) -> str:
    """Say what each part of the system used of a processor for one chat."""
    if own is None:
        return ""
    used = {part: 1000 * (now - before.get(part, 0.0)) / chats for part, now in own.cpu_s().items()}
    listed = ", ".join(f"{part} {ms:.1f}" for part, ms in sorted(used.items(), key=lambda item: -item[1]) if ms > 0.05)  # noqa: PLR2004 - less is not worth a word
    return f"; CPU ms a chat: {listed}"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.chat", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--start", action="store_true", help="start a system for this, and stop it again")
    where.add_argument("--url", default="http://127.0.0.1:8001", help="of a system that runs already")
    parser.add_argument("--token", default="")
    parser.add_argument("--chats", type=int, default=300, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=1, help="messages of one session")
    parser.add_argument("--lanes", type=int, default=8, help="side by side, in the last round")
    arguments = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    with contextlib.ExitStack() as stack:
        url, simulator, own = arguments.url, None, None
        if arguments.start:
            simulator = stack.enter_context(Simulator())
            simulator.answer(content="M", contains=SORTS)
            own = stack.enter_context(
                own_system(
                    ROOT / "var" / "bench",
                    OPENAI_BASE_URL=simulator.openai_url,
                    OPENAI_API_KEY="sk-of-the-simulator",
                    CATEGORY_SOURCE="model",
                    ROUTE_HOLDOUT="0",
                )
            )
            url = own.url
        asyncio.run(measure(arguments, url, simulator, own))


if __name__ == "__main__":
    main()
