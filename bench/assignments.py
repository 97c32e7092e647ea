"""What learning adds to the order of people: `python -m bench.assignments [--counts 150 400 800] [--seeds 10 29]`.

The people are those of the tests (`tests/integration/learning/judging.py`): experience decides what they are good at,
and the formula does not read it. `by chance` judges the same people by a coin, where nothing can be learned. Each seed
is one history of feedback; nothing is written anywhere, and no server is needed.
"""

from __future__ import annotations

import argparse
from statistics import mean
from typing import Any

from app.learning.assignment import AssignmentLearner, build_rows
from app.learning.ports import TooFewSamplesError
from tests.integration.learning.judging import judgements


def judge(count: int, seed: int, *, by_chance: bool) -> tuple[dict[str, Any], bool]:
    """Let a scorer learn from feedback; give its measures, and whether it would serve."""
    feedback = [
        (known, result, at.timestamp()) for known, result, at in judgements(count, seed=seed, by_chance=by_chance)
    ]
    try:
        trained = AssignmentLearner().train(build_rows(feedback), None)
    except TooFewSamplesError:
        return {}, False
    return trained.metrics, trained.promotes


def main() -> int:
    """Print one line a number of feedbacks."""
    parser = argparse.ArgumentParser(prog="python -m bench.assignments", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[150, 400, 800])
    parser.add_argument("--seeds", type=int, nargs=2, default=[10, 29], metavar=("FIRST", "LAST"))
    given = parser.parse_args()
    seeds = range(given.seeds[0], given.seeds[1] + 1)
    print("| feedbacks | pairs in order, formula alone | with the learned part | versions that served | by chance |")
    print("|---|---|---|---|---|")
    for count in given.counts:
        found = [judge(count, seed, by_chance=False) for seed in seeds]
        luck = sum(promotes for _, promotes in (judge(count, seed, by_chance=True) for seed in seeds))
        known = [metrics for metrics, _ in found if metrics.get("order_of_formula") is not None]
        alone, together = (mean(m[name] for m in known) for name in ("order_of_formula", "order_with_formula"))
        served = sum(promotes for _, promotes in found)
        print(
            f"| {count} | {alone:.3f} | {together:.3f} | {served} of {len(seeds)} | {luck} of {len(seeds)} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
