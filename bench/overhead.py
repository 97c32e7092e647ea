"""Measure what asking a model through the gateway costs over the bare SDK: `python -m bench.overhead`.

All ask the same simulated vendor, which answers after L seconds, with so many calls always in flight: a caller that was
answered asks again at once. A round lets each contender take its turn, another one first each time, with connections
opened beforehand. What counts is a call's time beyond L, and how much that is more than the bare SDK's in the same
round; the ledger is a double that costs nothing, breaker and rate are asked of a real Redis.

Callers begin spread over L, as they would be after a while anyhow, or, with `--burst`, all at the same moment: then a
call also waits for all others to be written and read, and p95 is nearly the whole burst's processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import openai
from redis.asyncio import Redis

from app.errors import StepError
from app.gateway.gate import RedisGate
from app.gateway.model import ChatRequest, ModelCall, Usage
from app.gateway.ports import CallEntry, ReservedCall
from app.gateway.registry import RateLimit
from app.gateway.registry_file import read_registry
from app.gateway.service import Gateway
from app.gateway.traced import TracedProvider
from app.providers.openai_compatible import OpenAICompatible
from app.schema import ROOT
from app.servers import EmbeddedRedis
from bench.report import describe_machine
from simulator import Simulator

Call = Callable[[], Awaitable[object]]
MODEL, LOGICAL = "gpt-6-luna", "fast_ai"
PROMPT = "Say in one sentence what a capsule wardrobe is. " * 10  # 480 characters, a short task
SYSTEM = "You write for a fashion studio. Be concrete, warm and brief. " * 20  # 1,200 characters
MESSAGES: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
MOST_TOKENS = 500
TIMEOUT_S = 60.0
UNHELD = RateLimit(requests_per_minute=600_000, burst=10_000)
"""A rate that holds nobody back, so that asking costs what it costs and nobody waits."""
BASELINE = "SDK on aiohttp"


class CostlessLedger:
    """A ledger that writes nothing down."""

    run = ticket = ""

    async def stored(self) -> ReservedCall | None:
        """Have nothing."""

    async def reserve(self, entry: CallEntry) -> ReservedCall:
        """Let the call be sent as it is."""
        return ReservedCall(1, entry.request)

    async def answer(self, ordinal: int, response: dict[str, Any], usage: Usage, cost_usd: Decimal) -> None:
        """Forget an answer."""

    async def reject(self, ordinal: int, complaint: str) -> None:
        """Forget a complaint."""

    async def fail(self, ordinal: int, error: StepError, sent: bool) -> None:  # noqa: FBT001 - as in the port
        """Forget a failure."""


@contextlib.asynccontextmanager
async def bare(base_url: str, make_client: Callable[..., httpx2.AsyncClient]) -> AsyncIterator[Call]:
    """Use the SDK as its own pages show it, with as many connections as calls."""
    limits = httpx2.Limits(max_connections=10_000, max_keepalive_connections=10_000, keepalive_expiry=15)
    client = openai.AsyncOpenAI(
        api_key="k", base_url=base_url, max_retries=0, http_client=make_client(limits=limits, timeout=TIMEOUT_S)
    )

    async def call() -> object:
        return await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_completion_tokens=MOST_TOKENS, reasoning_effort="none"
        )

    async with client:
        yield call


@contextlib.asynccontextmanager
async def adapter(base_url: str) -> AsyncIterator[Call]:
    """Use our adapter by itself."""
    provider = OpenAICompatible(name="openai", api_key="k", base_url=base_url)
    request = ChatRequest(
        "openai",
        MODEL,
        LOGICAL,
        tuple(MESSAGES),
        MOST_TOKENS,
        extra={"reasoning_effort": "none"},
        max_tokens_field="max_completion_tokens",
        timeout_s=TIMEOUT_S,
    )
    try:
        yield lambda: provider.complete(request)
    finally:
        await provider.close()


@contextlib.asynccontextmanager
async def gateway(base_url: str, redis_url: str, limits: dict[str, RateLimit]) -> AsyncIterator[Call]:
    """Use the gateway as a worker has it, but for the ledger."""
    redis = Redis.from_url(redis_url, decode_responses=True, max_connections=1000)
    provider = TracedProvider(OpenAICompatible(name="openai", api_key="k", base_url=base_url))
    registry = read_registry(ROOT / "orchestration_config.json")
    asked = Gateway(registry, {"openai": provider}, gate=RedisGate(redis, limits=limits))
    ledger = CostlessLedger()
    call = ModelCall(LOGICAL, PROMPT, system=(SYSTEM,), timeout_s=TIMEOUT_S)
    try:
        yield lambda: asked.complete(call, ledger)
    finally:
        await asked.close()
        await redis.aclose()


@dataclass
class Turn:
    """What one contender's turn took: seconds beyond the answer's own wait, and processor time a call."""

    over_s: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0

    def quantile_ms(self, share: float) -> float:
        """Give a quantile in milliseconds."""
        ordered = sorted(self.over_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Load:
    """How hard they are asked."""

    latency_s: float
    in_flight: int
    calls_each: int
    burst: bool


async def take_turn(call: Call, load: Load) -> Turn:
    """Keep so many calls in flight and time each."""
    turn = Turn()
    starts = [0.0 if load.burst else load.latency_s * place / load.in_flight for place in range(load.in_flight)]

    async def caller(start_s: float) -> None:
        await asyncio.sleep(start_s)
        for _ in range(load.calls_each):
            begun = time.perf_counter()
            await call()
            turn.over_s.append(time.perf_counter() - begun - load.latency_s)

    gc.collect()
    cpu_s = time.process_time()
    await asyncio.gather(*map(caller, starts))
    turn.cpu_ms = 1000 * (time.process_time() - cpu_s) / (load.in_flight * load.calls_each)
    return turn


async def measure(simulator: Simulator, redis_url: str, load: Load, rounds: int) -> dict[str, list[Turn]]:
    """Let all take turns."""
    base_url = simulator.openai_url
    turns: dict[str, list[Turn]] = {}
    async with contextlib.AsyncExitStack() as stack:
        contenders = {
            BASELINE: await stack.enter_async_context(bare(base_url, openai.DefaultAioHttpClient)),
            "SDK on its own transport": await stack.enter_async_context(bare(base_url, openai.DefaultAsyncHttpxClient)),
            "our adapter": await stack.enter_async_context(adapter(base_url)),
            "gateway": await stack.enter_async_context(gateway(base_url, redis_url, {})),
            "gateway, rate counted": await stack.enter_async_context(gateway(base_url, redis_url, {"openai": UNHELD})),
        }
        order = list(contenders)
        for number in range(rounds):
            for name in order[number % len(order) :] + order[: number % len(order)]:
                await asyncio.to_thread(simulator.configure, answers={"latency_s": 0.2})
                await asyncio.gather(*(contenders[name]() for _ in range(load.in_flight)))  # opens the connections
                await asyncio.to_thread(simulator.reset)
                await asyncio.to_thread(simulator.configure, answers={"latency_s": load.latency_s})
                turns.setdefault(name, []).append(await take_turn(contenders[name], load))
    return turns


def report(turns: dict[str, list[Turn]]) -> str:
    """Write a table.

    Differences are to the bare SDK on aiohttp in the same round: the median, and the range of all rounds. The least
    p95 of any round is what a machine with nothing else to do would come closest to.
    """
    lines = [
        "| contender | p50 ms | p95 ms | CPU ms a call | p50 over the SDK's | p95 over the SDK's | least p95 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, taken in turns.items():
        cells = [_median(turn.quantile_ms(share) for turn in taken) for share in (0.5, 0.95)]
        cells.append(_median(turn.cpu_ms for turn in taken))
        for share in (0.5, 0.95):
            pairs = zip(taken, turns[BASELINE], strict=True)
            differences = [mine.quantile_ms(share) - theirs.quantile_ms(share) for mine, theirs in pairs]
            cells.append(f"{_median(differences)} ({min(differences):+.1f} to {max(differences):+.1f})")
        cells.append(f"{min(turn.quantile_ms(0.95) for turn in taken):.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(numbers: Any) -> str:
    return f"{statistics.median(list(numbers)):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--latency", type=float, default=2.0, help="seconds the vendor takes")
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--calls", type=int, default=3, help="calls each caller makes, one after another")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--burst", action="store_true", help="all callers begin at the same moment")
    given = parser.parse_args(arguments)
    load = Load(given.latency, given.in_flight, given.calls, given.burst)
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder, Simulator() as simulator:
        server = EmbeddedRedis(Path(folder), die_with_parent=True)
        server.start()
        try:
            turns = asyncio.run(measure(simulator, server.url, load, given.rounds))
        finally:
            server.stop()
    print("; ".join(f"{key} {value}" for key, value in describe_machine().items()))
    print(f"{load}, {given.rounds} rounds, openai {openai.__version__}\n\n{report(turns)}")


if __name__ == "__main__":
    main()
