"""A day of mixed requests through `POST /chat`, against always asking the strong model: `python -m bench.day_http`.

A system of its own runs against the simulator. How each model does on each request is known beforehand, so a request is
answered well or not by whichever model answers it; the first of the day are judged so, over `POST /chat/{id}/verdict`.
With `--data`, requests and how models did on them come from a CSV with a column `prompt` and one of 0..1 a model;
without, from words that tell which model suffices.

Printed: what the day cost beside the strong model alone, how many answers were good beside the strong model's, what the
receipts come to beside the ledger, and `GET /stats`' `savings`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from app.chat.model import Asked, Category
from app.chat.routing import route_by_shape
from app.chat.rules import PlainCategoriser
from bench.own_system import ROOT, own_system
from simulator import Simulator

LADDER = ("fast_ai", "medium_ai", "thinking_ai")
STRONG = LADDER[-1]
ANSWER = "A simulated answer of about three hundred tokens. " * 24
GOOD_FROM = 0.5
TRAINED_WITHIN_S = 300.0
TRAINING_SEEN_AFTER_S = 40.0  # beat looks every 30 s
# Words of the made-up day, and which models do well on such requests.
KINDS: tuple[tuple[str, tuple[bool, bool, bool]], ...] = (
    ("What is the capital of", (True, True, True)),
    ("Explain in two sentences the history of", (False, True, True)),
    ("Prove with a theorem about", (False, False, True)),
    ("Derive in a simple manner", (True, True, True)),
)
SUBJECTS = ("Chad", "prime numbers", "tides", "bread", "graphs", "bridges", "Norway", "rivers", "glass", "winter")


@dataclass(frozen=True)
class Request:
    """One request of a day.

    Args:
        message: what is asked.
        good: whether each model of the ladder does well on it.
    """

    message: str
    good: Mapping[str, bool]


@dataclass
class Day:
    """What came of a day.

    Args:
        answers: what was answered, in the order of the requests.
        good: whether each answer was.
        strong_good: whether the strong model's would have been.
    """

    answers: list[dict[str, Any]] = field(default_factory=list)
    good: list[bool] = field(default_factory=list)
    strong_good: list[bool] = field(default_factory=list)

    @property
    def spent_usd(self) -> Decimal:
        """What the answers say that they cost."""
        return sum((Decimal(str(answer["cost"]["dollars"])) for answer in self.answers), Decimal(0))

    @property
    def strong_usd(self) -> Decimal:
        """What the strong model alone would have cost, by the receipts."""
        saved = (Decimal(str(answer["route"]["saved_dollars"])) for answer in self.answers)
        return self.spent_usd + sum(saved, Decimal(0))

    def __str__(self) -> str:
        """Write one line."""
        if not self.answers:
            return "no requests"
        models = Counter(answer["model_used"] for answer in self.answers)
        moved = sum("moved_from" in answer["route"] for answer in self.answers)
        held = sum(bool(answer["route"].get("holdout")) for answer in self.answers)
        cheaper = 1 - self.spent_usd / self.strong_usd if self.strong_usd else Decimal(0)
        right = sum(self.good) / max(1, sum(self.strong_good))
        return (
            f"{len(self.answers)} requests: ${self.spent_usd:.4f}, always {STRONG} ${self.strong_usd:.4f}, "
            f"{cheaper:.1%} cheaper; good answers {sum(self.good)}, {STRONG}'s {sum(self.strong_good)}: "
            f"{right:.1%} of its correctness; "
            f"{moved} moved down, {held} held out; {dict(models)}"
        )


def make_day(count: int, seed: int = 1) -> list[Request]:
    """Make requests whose words tell which models do well on them."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        words, good = rng.choice(KINDS)
        message = f"{words} {rng.choice(SUBJECTS)} and {rng.choice(SUBJECTS)}, case {number}?"
        made.append(Request(message, dict(zip(LADDER, good, strict=True))))
    return made


def read_day(path: Path, columns: Sequence[str], count: int, seed: int = 1) -> list[Request]:
    """Draw requests from a file.

    Args:
        path: CSV, or that in gzip; prompts that plain rules would plan for, or that name an image, are left out.
        columns: of the scores, for the models from the cheapest on.
        count: how many to draw.
        seed: of the draw.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if is_single(row["prompt"]) and all(row[name] for name in columns)]
    drawn = random.Random(seed).sample(rows, min(count, len(rows)))
    scores = [[float(row[name]) >= GOOD_FROM for name in columns] for row in drawn]
    return [
        Request(row["prompt"], dict(zip(LADDER, good, strict=True))) for row, good in zip(drawn, scores, strict=True)
    ]


def is_single(message: str) -> bool:
    """Whether one model of the ladder answers it: no plan, no picture, and not empty."""
    plans = PlainCategoriser().judge(message, 0).category is Category.H
    return bool(message.strip()) and not plans and route_by_shape(Asked(message)) is None


async def replay(session: aiohttp.ClientSession, day: Sequence[Request], *, judged: int = 0, lanes: int = 8) -> Day:
    """Send requests, so many side by side, and judge the first of them."""
    answers: list[dict[str, Any]] = [{} for _ in day]
    places = iter(range(len(day)))

    async def lane() -> None:
        for place in places:
            async with session.post("/chat", json={"message": day[place].message}) as response:
                answers[place] = await response.json()
                if response.status != 200:  # noqa: PLR2004 - of HTTP
                    raise RuntimeError(f"{response.status}: {answers[place]}")
            if place < judged:
                verdict = {"good": day[place].good[answers[place]["model_used"]]}
                async with session.post(f"/chat/{answers[place]['task_id']}/verdict", json=verdict) as response:
                    response.raise_for_status()

    await asyncio.gather(*(lane() for _ in range(lanes)))
    good = [request.good[answer["model_used"]] for request, answer in zip(day, answers, strict=True)]
    return Day(answers, good, [request.good[STRONG] for request in day])


async def await_training(session: aiohttp.ClientSession) -> str:
    """Wait until what the verdicts started has ended; say what came of it."""
    began = time.monotonic()
    while time.monotonic() - began < TRAINED_WITHIN_S:
        async with session.get("/runs", params={"kind": "route_training"}) as response:
            runs = await response.json()
        if runs and runs[0]["status"] in {"completed", "partial", "failed"}:
            async with session.get(f"/runs/{runs[0]['task_id']}") as response:
                return str((await response.json()).get("result"))
        if not runs and time.monotonic() - began > TRAINING_SEEN_AFTER_S:
            return "no training was due"
        await asyncio.sleep(1.0)
    return "the training did not end in time"


async def measure(url: str, day: Sequence[Request], judged: int, lanes: int) -> Day:
    """Replay a day in two parts, a training between them, and print what it came to."""
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=None)) as session:
        first = await replay(session, day[:judged], judged=judged, lanes=lanes)
        print(f"judged      {first}")
        print(f"training    {await await_training(session)}")
        await asyncio.sleep(6.0)  # workers look for a new version every 5 s
        rest = await replay(session, day[judged:], lanes=lanes)
        print(f"afterwards  {rest}")
        whole = Day(*(a + b for a, b in zip(vars(first).values(), vars(rest).values(), strict=True)))
        async with session.get("/stats") as response:
            stats = await response.json()
    print(f"the day     {whole}")
    print(f"receipts    ${whole.spent_usd}; the ledger ${Decimal(str(stats['costs']['last_7_days']))}")
    print(f"savings     {stats['savings']}")
    return whole


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.day_http", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--judged", type=int, default=300, help="of the first requests")
    parser.add_argument("--data", type=Path, help="a CSV with prompts, and how models did on them")
    parser.add_argument("--columns", default="", help="of the scores: fast,medium,thinking")
    parser.add_argument("--trial", default="0.3", help="ROUTE_TRIAL: the share that is tried a model cheaper")
    parser.add_argument("--holdout", default="0.03", help="ROUTE_HOLDOUT")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    columns = given.columns.split(",")
    if given.data is not None and len(columns) != len(LADDER):
        parser.error("--columns names three columns")
    day = make_day(given.requests, given.seed)
    if given.data is not None:
        day = read_day(given.data, columns, given.requests, given.seed)
    with Simulator() as simulator:
        simulator.answer(content=ANSWER)
        settings = {
            "OPENAI_BASE_URL": simulator.openai_url,
            "OPENAI_API_KEY": "sk-of-the-simulator",
            "CATEGORY_SOURCE": "local",
            "ROUTE_TRIAL": given.trial,
            "ROUTE_HOLDOUT": given.holdout,
        }
        with own_system(ROOT / "var" / "bench", **settings) as own:
            asyncio.run(measure(own.url, day, given.judged, given.lanes))


if __name__ == "__main__":
    main()
