"""A mixed day of 1000 requests, routed after a few hundred judged outcomes: `python -m bench.day`.

The day is drawn from public sets on which it is known, request by request, whether a weaker and a stronger model did
well, a third each: RouteLLM (MMLU and GSM8K; Mixtral 8x7B, GPT-4), thinking off and on (BIG-Bench-Hard), and two of
nine open models (gemma-2-9b, nemotron-51b). Dollars are the registry's for `medium_ai` and `thinking_ai`; tokens are
estimated as `ml/evaluate/requests.py` says. The scorer knows nothing but the judged outcomes of requests drawn before
the day from the same stream, and what those answers cost: never another row of a public set. `bench.day_http` lives a
day through the service.

How outcomes were judged matters as much as how many:

  coin    each request is answered by one model, tossed for; only that answer is judged (300 requests, 300 outcomes)
  both    each request is answered by both models and both are judged (150 requests, 300 outcomes)
  served  the cheap model answers, but for the held-out share that goes to the strong one: no comparison is possible

`--write` puts the first day into a file, one request a line with both models' correctness and dollars; a `Router` of
another kind can replay it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ml.errors import LearningError
from ml.evaluate.requests import MODELS, Requests, read_nine, read_routellm, read_thinking
from ml.frame import Floats
from ml.metrics import interval
from ml.route import HOLDOUT_SHARE, Loss, Per, RouteScorer, is_held_out
from ml.route_pair import FAMILIAR

WEAKER, STRONGER = MODELS
DAY = 1_000
JUDGED = 300
HISTORY = 4_000  # requests drawn before the day, so that more judged outcomes can be tried on the same day
KEPT, CHEAPER = 0.95, 0.70  # the aim: of correctness, and of dollars
DIALS: tuple[tuple[Per, float], ...] = (
    ("request", 0.02),
    *(("traffic", loss) for loss in (0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.10)),
)
SHARES = tuple(np.round(np.arange(0.0, 1.01, 0.1), 2).tolist())
COLOURS = ("#9aa5b1", "#2563a8", "#b3541e", "#3f7d3f", "#7a4f9a")
POLICIES = ("coin", "both", "served")


@dataclass(frozen=True)
class Day:
    """What happens before and on one day.

    Args:
        before: requests whose outcomes may be judged, in order.
        today: the day's.
        seed: it was drawn with.
    """

    before: Requests
    today: Requests
    seed: int


@dataclass(frozen=True)
class Known:
    """What is known before a day, a prompt each: how the models that answered it did, and what their answers cost."""

    prompts: Sequence[str]
    outcomes: list[Mapping[str, float]]
    dollars: list[Mapping[str, float]]

    def fit(self, *, costs: bool = True) -> RouteScorer:
        """Learn from nothing else; without costs, from the outcomes alone."""
        return RouteScorer.fit(self.prompts, self.outcomes, models=MODELS, dollars=self.dollars if costs else None)


class Router(Protocol):
    """Who answers: this bench's own scorer, or later the service over HTTP."""

    def route(self, keys: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """Name the model that answers each prompt, `MODELS`' names."""
        ...


@dataclass(frozen=True)
class Dial:
    """A router by the scorer, as a service would set it.

    Args:
        scorer: fitted before the day.
        per: what `max_loss` bounds.
        max_loss: of quality.
        holdout: share of requests that go to the stronger model all the same.
    """

    scorer: RouteScorer
    per: Per
    max_loss: float
    holdout: float = HOLDOUT_SHARE

    def route(self, keys: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """Name the model that answers each prompt."""
        return self.decide(keys, self.scorer.expected_losses(prompts, WEAKER, STRONGER))

    def decide(self, keys: Sequence[str], losses: Sequence[Loss]) -> list[str]:
        """Name the models where the losses are known already."""
        return [
            STRONGER
            if is_held_out(key, self.holdout) or self.scorer.refusal(loss, (WEAKER, STRONGER), self.max_loss, self.per)
            else WEAKER
            for key, loss in zip(keys, losses, strict=True)
        ]


@dataclass(frozen=True)
class Outcome:
    """How a day went, against always asking the stronger model.

    Args:
        dollars: share of its dollars.
        correct: share of its correctness.
        moved: share of requests that the weaker model answered.
        lost: correct answers fewer, as a share of the requests: what a dial bounds.
    """

    dollars: float
    correct: float
    moved: float
    lost: float


def draw(sets: Sequence[Requests], seed: int) -> Day:
    """Draw a stream of equal thirds, in random order: first what was before the day, then the day."""
    rng = np.random.default_rng(seed)
    wanted = HISTORY + DAY
    each = -(-wanted // len(sets))
    parts = [part.take(rng.choice(len(part), each, replace=False)) for part in sets]
    whole = Requests(
        tuple(prompt for part in parts for prompt in part.prompts),
        np.concatenate([part.good for part in parts]),
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.dollars for part in parts]),
    )
    order = rng.permutation(len(whole))
    return Day(whole.take(order[DAY:wanted]), whole.take(order[:DAY]), seed)


def judge(day: Day, policy: str, count: int) -> Known:
    """Give what is known before the day: prompts with `count` judged outcomes."""
    rng = np.random.default_rng(day.seed + 1)
    needed = count // 2 if policy == "both" else count
    asked = day.before.take(np.arange(needed))
    known = Known(asked.prompts, [], [])
    for number, (good, dollars) in enumerate(zip(asked.good.tolist(), asked.dollars.tolist(), strict=True)):
        served: tuple[str, ...] = MODELS
        if policy == "coin":
            served = (MODELS[int(rng.integers(2))],)
        elif policy == "served":
            served = (STRONGER if is_held_out(f"before {day.seed} {number}") else WEAKER,)
        known.outcomes.append({model: good[MODELS.index(model)] for model in served})
        known.dollars.append({model: dollars[MODELS.index(model)] for model in served})
    return known


def spend(today: Requests, models: Sequence[str]) -> Outcome:
    """Add up a day."""
    place = np.array([MODELS.index(model) for model in models])
    rows = np.arange(len(today))
    return Outcome(
        float(today.dollars[rows, place].sum() / today.dollars[:, 1].sum()),
        float(today.good[rows, place].sum() / today.good[:, 1].sum()),
        float(np.mean(place == 0)),
        float(np.mean(today.good[:, 1] - today.good[rows, place])),
    )


@dataclass(frozen=True)
class Lived:
    """What came of a day.

    Args:
        outcomes: by dial.
        curves: shape (shares, 2) of dollars and correctness, by what is moved first, whatever the evidence says: what
            loses least for what it saves, and for comparison what loses least, and what saves most.
        strange: share of the requests that look unlike what was judged: such must keep within the dial by themselves.
    """

    outcomes: dict[str, Outcome]
    curves: dict[str, Floats]
    strange: float


RATE, LOSS, SAVING = "least loss for what it saves first", "least loss first", "most saved first"


def live(day: Day, policy: str, count: int, *, costs: bool = True) -> Lived:
    """Fit on what was judged and live the day at every dial."""
    scorer = judge(day, policy, count).fit(costs=costs)
    losses = scorer.expected_losses(day.today.prompts, WEAKER, STRONGER)
    keys = [f"{day.seed} {number}" for number in range(len(day.today))]
    out = {f"{per} {loss:.2f}": spend(day.today, Dial(scorer, per, loss).decide(keys, losses)) for per, loss in DIALS}
    orders = {RATE: [loss.rate for loss in losses]}
    if costs:
        orders |= {LOSS: [loss.mean for loss in losses], SAVING: [-loss.saving for loss in losses]}
    strange = float(np.mean([loss.familiar < FAMILIAR for loss in losses]))
    return Lived(out, {name: curve(day.today, np.array(order)) for name, order in orders.items()}, strange)


def curve(today: Requests, rate: Floats) -> Floats:
    """Give (dollars, correctness) for each share of requests moved down, the least rate first; ties by chance."""
    order = np.lexsort((np.random.default_rng(0).permutation(len(rate)), rate))
    points = []
    for share in SHARES:
        place = np.ones(len(order), dtype=np.int64)
        place[order[: round(share * len(order))]] = 0
        outcome = spend(today, [MODELS[j] for j in place])
        points.append((outcome.dollars, outcome.correct))
    return np.array(points)


def at_dollars(points: Floats, dollars: float) -> float:
    """Read a curve's correctness where it costs so much."""
    order = np.argsort(points[:, 0], kind="stable")
    return float(np.interp(dollars, points[order, 0], points[order, 1]))


def at_correct(points: Floats, correct: float) -> float:
    """Read the least dollars at which a curve is so correct, between its points."""
    fine = np.linspace(0, 1, 1001)
    place = np.linspace(0, 1, len(points))
    dollars, found = np.interp(fine, place, points[:, 0]), np.interp(fine, place, points[:, 1])
    enough = dollars[found >= correct]
    return float(enough.min()) if len(enough) else 1.0


def spelled(values: Sequence[float]) -> str:
    """Print a median with the range of nineteen days in twenty."""
    low, middle, high = np.quantile(np.array(values), [0.025, 0.5, 0.975])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def report(policy: str, count: int, days: Sequence[Lived]) -> list[str]:
    """Print the dials and the curves of one way of judging."""
    lines = [f"{policy}, {count} judged outcomes, {len(days)} days: shares of always asking {STRONGER}"]
    lines.append(f"  {'dial':14}{'dollars':26}{'correctness':26}{'moved down':26}days beyond it")
    for name, (_, most) in zip(days[0].outcomes, DIALS, strict=True):
        found = [day.outcomes[name] for day in days]
        cells = ([o.dollars for o in found], [o.correct for o in found], [o.moved for o in found])
        beyond = sum(outcome.lost > most for outcome in found)
        lines.append(f"  {name:14}" + "".join(f"{spelled(values):26}" for values in cells) + str(beyond))
    if policy == "served":
        return lines
    lines.append(f"  held for strangers: {spelled([day.strange for day in days])} of the requests")
    for place, share in enumerate(SHARES):
        pair = ([day.curves[RATE][place, column] for day in days] for column in range(2))
        lines.append(f"  {f'curve {share:.0%}':14}" + "".join(f"{spelled(values):26}" for values in pair))
    lines += [f"  {read_off(name, [day.curves[name] for day in days])}" for name in days[0].curves]
    return lines + [f"  {compared(name, days)}" for name in days[0].curves if name != RATE]


def read_off(name: str, curves: Sequence[Floats]) -> str:
    """Print what can be read off the curves of several days."""
    cheap = [at_dollars(points, 1 - CHEAPER) for points in curves]
    good = [1 - at_correct(points, KEPT) for points in curves]
    at = f"{CHEAPER:.0%} cheaper at {spelled(cheap)} of the correctness"
    return f"{name}: {at}, {KEPT:.0%} of it {spelled(good)} cheaper"


def compared(name: str, days: Sequence[Lived]) -> str:
    """Print how much cheaper the days were, each against itself, than by another order."""
    cheaper = [at_correct(day.curves[name], KEPT) - at_correct(day.curves[RATE], KEPT) for day in days]
    low, high = interval(np.array(cheaper), np.arange(len(cheaper)))
    mean = f"{np.mean(cheaper):+.3f} of the dollars (95 %: {low:+.3f} to {high:+.3f})"
    return f"{RATE}, against {name}, the same days: {mean} saved at {KEPT:.0%} of the correctness"


def bounds(days: Sequence[Day]) -> list[str]:
    """Print what no judged outcome is needed for: chance, and knowing everything."""
    chance = [curve(day.today, np.random.default_rng(day.seed).random(len(day.today))) for day in days]
    known = [curve(day.today, day.today.good[:, 1] - day.today.good[:, 0]) for day in days]
    return [read_off("chance", chance), read_off("knowing every answer", known)]


def plot(path: Path, curves: Mapping[str, Sequence[Floats]]) -> None:
    """Draw dollars against correctness, the median day with the range of nineteen in twenty."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise LearningError("pictures need Matplotlib: install the extra `plot`") from error
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (name, found), colour in zip(curves.items(), itertools.cycle(COLOURS)):
        low, middle, high = np.quantile(np.array(found), [0.025, 0.5, 0.975], axis=0)
        axes.plot(100 * middle[:, 0], 100 * middle[:, 1], marker="o", markersize=3, color=colour, label=name)
        axes.fill_between(100 * middle[:, 0], 100 * low[:, 1], 100 * high[:, 1], color=colour, alpha=0.12, linewidth=0)
    axes.plot(100 * (1 - CHEAPER), 100 * KEPT, "*", markersize=14, color="#1f2933", label="the aim")
    axes.set(title=f"A mixed day of {DAY:,} requests, against always thinking")
    axes.set(xlabel="dollars, %", ylabel="correct answers, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=130, format="png")


def write(path: Path, day: Day) -> None:
    """Put a day into a file for a simulator: a line a request."""
    with path.open("w", encoding="utf-8") as file:
        for number, (prompt, good, dollars) in enumerate(
            zip(day.today.prompts, day.today.good.tolist(), day.today.dollars.tolist(), strict=True)
        ):
            models = {model: {"good": good[place], "dollars": dollars[place]} for place, model in enumerate(MODELS)}
            file.write(json.dumps({"key": f"{day.seed} {number}", "prompt": prompt, "models": models}) + "\n")


def read_sets(folder: Path) -> list[Requests]:
    """Read the three sources, RouteLLM's two benchmarks as one."""
    known, other = (read_routellm(folder / "routing_routellm.csv.gz", name) for name in ("mmlu", "gsm8k"))
    both = Requests(
        known.prompts + other.prompts,
        np.concatenate([known.good, other.good]),
        np.concatenate([known.group, other.group]),
        np.concatenate([known.dollars, other.dollars]),
    )
    thinking, nine = folder / "routing_thinking_on_off.csv.gz", folder / "routing_nine_models.csv.gz"
    return [both, read_thinking(thinking), read_nine(nine)]


def main(arguments: list[str] | None = None) -> int:
    """Live the days and print what they cost."""
    parser = argparse.ArgumentParser(prog="python -m bench.day", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the public sets")
    parser.add_argument("--days", type=int, default=20, help="repetitions, each with a seed of its own")
    parser.add_argument("--judged", type=int, nargs="+", default=[JUDGED, 1_000, 3_000], help="outcomes known")
    parser.add_argument("--without-dollars", action="store_true", help="learn nothing of what answers cost")
    parser.add_argument("--plot", type=Path, default=None, help="PNG of the curves")
    parser.add_argument("--write", type=Path, default=None, help="JSONL of the first day, for a replay")
    options = parser.parse_args(arguments)
    if not (options.data / "routing_routellm.csv.gz").exists():
        print(f"the public sets are not in {options.data}: nothing to measure")
        return 0
    sets = read_sets(options.data)
    days = [draw(sets, seed) for seed in range(options.days)]
    if options.write is not None:
        write(options.write, days[0])
    strong = [float(day.today.good[:, 1].mean()) for day in days]
    weak = [float(day.today.good[:, 0].sum() / day.today.good[:, 1].sum()) for day in days]
    cheap = [float(day.today.dollars[:, 0].sum() / day.today.dollars[:, 1].sum()) for day in days]
    print(f"always {STRONGER}: {spelled(strong)} correct; always {WEAKER}: {spelled(weak)} of that at {spelled(cheap)}")
    print("\n".join(bounds(days)))
    drawn: dict[str, list[Floats]] = {
        "chance": [curve(day.today, np.random.default_rng(day.seed).random(len(day.today))) for day in days]
    }
    for policy in POLICIES:
        for count in options.judged if policy == "coin" else options.judged[:1]:
            lived = [live(day, policy, count, costs=not options.without_dollars) for day in days]
            print("\n".join(report(policy, count, lived)), flush=True)
            if policy != "served":
                drawn[f"{policy}, {count} outcomes"] = [day.curves[RATE] for day in lived]
    if options.plot is not None:
        plot(options.plot, drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
