"""What a caller feels who sends likes while the system trains: `python -m bench.likes --start`.

`--start` brings up a system of its own with `batuta up` and stops it again; `--url` asks one that runs already.

Likes go out at a fixed pace whatever the answers do (an open loop), so that a slow answer cannot hide behind a later
request. Every like names a record of its own and one of a quarter of the structures; the other structures' prompts
stay unliked, so that there is something to learn. A round is a stretch of likes alone and one with learning cycles
triggered one after another. With `--quiet .3` a stretch begins when other programs take less than .3 of a core; what
they took during it is in its line. What the cycles came to is read back from the system: with none that trained, the
figures are of no training, and the program says so and ends with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
import psutil

from bench.own_system import ROOT, OwnSystem, own_system
from bench.report import describe_machine

MOST_A_REQUEST = 500  # prompts
LIKED_BEFORE = 200  # likes of the first cycle
CONNECTIONS = 50
LIKED_SHARE = 4  # one structure in so many is liked
PAUSE_S = 3.0  # between two stretches: what the last one left to do is done
OTHERS = "all others"
CYCLE_ENDS_WITHIN_S = 180.0
LOOK_S = 2.0  # at what other programs take
QUIET_WITHIN_S = 900.0
TRAINED = frozenset({"trained", "kept_previous"})


@dataclass(frozen=True)
class Cycles:
    """What the learning cycles of a stretch came to.

    Args:
        ends: how many ended how.
        training_s: seconds of the stretch in which a training step ran.
        retrains: by how much `/status`' `total_retrains` has grown.
    """

    ends: Counter[str] = field(default_factory=Counter)
    training_s: float = 0.0
    retrains: int = 0

    def __str__(self) -> str:
        """Write them for a line of the report."""
        ends = ", ".join(f"{count} {status}" for status, count in sorted(self.ends.items())) or "none"
        return f"cycles: {ends}; a training ran for {self.training_s:.1f} s of it"


@dataclass(frozen=True)
class Stretch:
    """What a stretch of likes was like."""

    times_ms: list[float]
    statuses: Counter[int]
    cycles: Cycles
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def median_ms(self) -> float:
        """The median."""
        return statistics.median(self.times_ms)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile."""
        return statistics.quantiles(self.times_ms, n=20)[-1]

    def __str__(self) -> str:
        """Write one line."""
        cpu = ", ".join(f"{part} {share:.0%}" for part, share in sorted(self.cpu.items(), key=_by_share))
        return (
            f"{len(self.times_ms)} likes: median {self.median_ms:.1f} ms, p95 {self.p95_ms:.1f} ms, "
            f"p99 {statistics.quantiles(self.times_ms, n=100)[-1]:.1f} ms, most {max(self.times_ms):.1f} ms; "
            f"answers {dict(self.statuses)}; {self.cycles}" + (f"; of one core: {cpu}" if cpu else "")
        )


class Sender:
    """Sends likes to one system.

    Args:
        session: to it.
        own: the system, when it was started here; its processor time is reported then.
    """

    def __init__(self, session: aiohttp.ClientSession, own: OwnSystem | None = None) -> None:
        self._session = session
        self._own = own
        self._liked: list[str] = []

    async def prepare(self, prompts: int) -> None:
        """Make prompts, like some, and let a first cycle train on them."""
        for made in range(0, prompts, MOST_A_REQUEST):
            body = {"num_prompts": min(MOST_A_REQUEST, prompts - made)}
            await self._ask("POST", "/events/manual_generate", body)
        found = await self._ask("GET", "/structures?page_size=200")
        names = sorted(str(one["structure_id"]) for one in found)
        self._liked = names[: max(1, len(names) // LIKED_SHARE)]
        for number in range(LIKED_BEFORE):
            await self._like(number)
        await self._ask("POST", "/trigger_retrain")
        await self._await_idle()
        first = (await self._ask("GET", "/status"))["last_cycle"]
        print(f"{prompts} prompts, {len(names)} structures; the first cycle: {first['status']} ({first['reason']})")

    async def stretch(self, rate: float, seconds: float, *, trains: bool) -> Stretch:
        """Send likes at a pace, with or without cycles under way."""
        await asyncio.sleep(PAUSE_S)
        before = await self._ask("GET", "/status")
        stop = asyncio.Event()
        trainer = asyncio.create_task(self._keep_training(stop)) if trains else None
        await asyncio.sleep(1)
        used, began, began_at = self._cpu(), time.perf_counter(), time.time()
        results = await self._send_at_pace(rate, seconds)
        lasted, ended_at = time.perf_counter() - began, time.time()
        cpu = {part: (now - used.get(part, 0.0)) / lasted for part, now in self._cpu().items()}
        stop.set()
        if trainer is not None:
            await trainer
            await self._await_idle()
        after = await self._ask("GET", "/status")
        ends, training_s = await self._cycles_between(began_at, ended_at)
        cycles = Cycles(ends, training_s, after["total_retrains"] - before["total_retrains"])
        statuses = Counter(status for status, _ in results)
        return Stretch([1000 * taken_s for _, taken_s in results], statuses, cycles, cpu)

    async def _send_at_pace(self, rate: float, seconds: float) -> list[tuple[int, float]]:
        began = time.perf_counter()
        tasks = []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(self._like(number)))
        return await asyncio.gather(*tasks)

    async def _like(self, number: int) -> tuple[int, float]:
        structure_id = self._liked[number % len(self._liked)]
        body = {"record_id": f"rec{uuid.uuid4().hex[:14]}", "structure_id": structure_id}
        began = time.perf_counter()
        async with self._session.post("/events/like", json=body) as answer:
            await answer.read()
            return answer.status, time.perf_counter() - began

    async def _keep_training(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with self._session.post("/trigger_retrain") as answer:  # 409 while one runs
                await answer.read()
            await asyncio.sleep(0.2)

    async def _await_idle(self) -> None:
        until = time.monotonic() + CYCLE_ENDS_WITHIN_S
        while (await self._ask("GET", "/status"))["is_retraining"]:
            if time.monotonic() > until:
                raise TimeoutError("the learning cycle does not end; does a learning worker run?")
            await asyncio.sleep(0.2)

    async def _cycles_between(self, began_at: float, ended_at: float) -> tuple[Counter[str], float]:
        """Read what the cycles came to whose training lay, at least in part, between two moments."""
        ends: Counter[str] = Counter()
        training_s = 0.0
        for listed in await self._ask("GET", "/runs?kind=learning_cycle&page_size=200"):
            run = await self._ask("GET", f"/runs/{listed['task_id']}")
            train = next(step for step in run["steps"] if step["key"] == "train")
            if train["started_at"] is None or train["finished_at"] is None:
                continue
            first, last = (datetime.fromisoformat(train[name]).timestamp() for name in ("started_at", "finished_at"))
            if last > began_at and first < ended_at:
                ends[run["result"]["status"]] += 1
                training_s += min(last, ended_at) - max(first, began_at)
        return ends, training_s

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        async with self._session.request(method, path, json=body) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def await_quiet(self, share: float) -> None:
        """Wait until other programs take less than this share of a core, a quarter of an hour at most."""
        until = time.monotonic() + QUIET_WITHIN_S
        while time.monotonic() < until:
            before = self._cpu().get(OTHERS, 0.0)
            await asyncio.sleep(LOOK_S)
            if self._cpu().get(OTHERS, 0.0) - before < share * LOOK_S:
                return

    def _cpu(self) -> dict[str, float]:
        if self._own is None:
            return {}
        mine = {**self._own.cpu_s(), "this client": time.process_time()}
        busy = psutil.cpu_times()
        return {**mine, OTHERS: sum(busy) - busy.idle - busy.iowait - sum(mine.values())}


async def measure(arguments: argparse.Namespace, own: OwnSystem | None) -> bool:
    """Send the likes and print what they took; returns whether there were trainings to measure beside."""
    async with _session(own.url if own else arguments.url, arguments.token) as session:
        sender = Sender(session, own)
        await sender.prepare(arguments.prompts)
        stretches: dict[bool, list[Stretch]] = {False: [], True: []}
        for _ in range(arguments.rounds):
            for trains in (False, True):
                if arguments.quiet:
                    await sender.await_quiet(arguments.quiet)
                stretch = await sender.stretch(arguments.rate, arguments.seconds, trains=trains)
                stretches[trains].append(stretch)
                print(f"{'training' if trains else 'no cycle'}: {stretch}")
    for trains, found in stretches.items():
        print(f"{'while training' if trains else 'no cycle      '}: {_summary(found)}")
    return all(TRAINED & set(stretch.cycles.ends) and stretch.cycles.retrains for stretch in stretches[True])


def _summary(stretches: list[Stretch]) -> str:
    parts = []
    for name, values in (
        ("median", [one.median_ms for one in stretches]),
        ("p95", [one.p95_ms for one in stretches]),
    ):
        parts.append(f"{name} {statistics.median(values):.1f} ms ({min(values):.1f} to {max(values):.1f})")
    return f"{', '.join(parts)}; medians of {len(stretches)} stretches, least and most"


@contextlib.asynccontextmanager
async def _session(url: str, token: str) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector, timeout=timeout) as session:
        yield session


def _by_share(item: tuple[str, float]) -> float:
    return -item[1]


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.likes", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--start", action="store_true", help="start a system for this, and stop it again")
    where.add_argument("--url", default="http://127.0.0.1:8001", help="of a system that runs already")
    parser.add_argument("--token", default="")
    parser.add_argument("--rate", type=float, default=100.0, help="likes a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each stretch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=4000, help="made beforehand; the more, the longer a training")
    parser.add_argument("--quiet", type=float, default=0.0, help="of a core: wait until others take less (--start)")
    parser.add_argument("--threshold", type=int, default=1_000_000, help="LIKE_THRESHOLD of the system that is started")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what was started is stopped again
    print(", ".join(f"{name} {value}" for name, value in describe_machine().items()))
    with contextlib.ExitStack() as stack:
        folder = ROOT / "var" / "bench"
        own = (
            stack.enter_context(own_system(folder, LIKE_THRESHOLD=str(arguments.threshold)))
            if arguments.start
            else None
        )
        trained = asyncio.run(measure(arguments, own))
    if not trained:
        sys.exit("No cycle trained in a stretch that was to be measured beside one: these figures are of no training.")


if __name__ == "__main__":
    main()
