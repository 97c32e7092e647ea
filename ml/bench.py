"""Cost of a fit against LightGBM alone: `python -m ml.bench [--rows 1000000] [--features 40] [--threads 1]`.

Each side runs in a process of its own, so that neither warms the other's memory. The peak is the highest resident size
during the fit less the size just before it with the matrix in memory; it is given in matrices.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from ml import booster
from ml.booster import Growth
from ml.frame import Array, as_frame
from ml.preference import Preference
from ml.scorers import fit
from ml.table import Options

SCORED = 100_000
KIB = 1024


@dataclass(frozen=True)
class Size:
    """What to fit: rows, features, threads, and rounds of trees on both sides."""

    rows: int
    features: int
    threads: int
    rounds: int


def make_rows(size: Size) -> tuple[Array, Array]:
    """Draw a matrix, shape (n, f), float32, and likes that depend on a dozen of its columns."""
    rng = np.random.default_rng(11)
    matrix = rng.standard_normal((size.rows, size.features), dtype=np.float32)
    utility = matrix[:, :8] @ rng.standard_normal(8).astype(np.float32) * 0.4
    utility += 0.5 * matrix[:, 8] * matrix[:, 9] - 0.5 * np.abs(matrix[:, 10])
    likes = (rng.random(size.rows) < 1 / (1 + np.exp(-utility))).astype(np.float64)
    return matrix, likes


def run_ours(size: Size) -> dict[str, float]:
    """Fit with everything: rows kept aside, baseline, tastes, calibration, card; then score."""
    matrix, likes = make_rows(size)
    options = Options(threads=size.threads, parameters={"num_iterations": size.rounds})
    time_of = np.arange(size.rows, dtype=np.float64)  # likes come in order
    before = _peak_bytes()
    began, busy = time.perf_counter(), time.process_time()
    scorer = fit(matrix, likes, time=time_of, options=options)
    fitted, worked = time.perf_counter() - began, time.process_time() - busy
    peak = _peak_bytes() - before
    few = matrix[:SCORED]
    began = time.perf_counter()
    scorer.score(few, threads=size.threads)
    scored = time.perf_counter() - began
    trees = scorer.trees[0].num_trees() if isinstance(scorer, Preference) and scorer.trees else 0
    return {
        "fit_s": fitted,
        "fit_cpu_s": worked,
        "score_s": scored,
        "peak": peak / matrix.nbytes,
        "auc": scorer.card.metrics["auc"],
        "trees": trees,
    }


def run_alone(size: Size) -> dict[str, float]:
    """Train LightGBM on the prepared matrix with the same parameters and rounds."""
    matrix, likes = make_rows(size)
    names = as_frame(matrix).names
    parameters = Growth(names, threads=size.threads).parameters(size.rows, float(likes.mean()))
    before = _peak_bytes()
    began, busy = time.perf_counter(), time.process_time()
    trained = lgb.train(parameters, lgb.Dataset(matrix, likes, params=parameters), size.rounds)
    fitted, worked = time.perf_counter() - began, time.process_time() - busy
    peak = _peak_bytes() - before
    began = time.perf_counter()
    booster.margins((trained,), matrix[:SCORED], threads=size.threads)
    scored = time.perf_counter() - began
    return {
        "fit_s": fitted,
        "fit_cpu_s": worked,
        "score_s": scored,
        "peak": peak / matrix.nbytes,
        "trees": trained.num_trees(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run both sides and print the ratio."""
    parser = argparse.ArgumentParser(prog="python -m ml.bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--side", choices=("ours", "alone"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    size = Size(given.rows, given.features, given.threads, given.rounds)
    if given.side:
        _say(json.dumps(run_ours(size) if given.side == "ours" else run_alone(size)))
        return 0
    alone, ours = _apart("alone", size), _apart("ours", size)
    for name, found in (("LightGBM alone", alone), ("ours", ours)):
        _say(f"{name:15} " + "  ".join(f"{key} {value:.2f}" for key, value in found.items()))
    _say(f"fit costs {ours['fit_s'] / alone['fit_s']:.2f} times LightGBM alone (bar 1.30)")
    _say(f"and {ours['fit_cpu_s'] / alone['fit_cpu_s']:.2f} times its processor seconds")
    _say(f"peak memory {1 + ours['peak']:.2f} matrices with the matrix itself (bar 2)")
    _say(f"scoring {SCORED:,} rows takes {ours['score_s']:.2f} s (bar 1)")
    return 0


def _apart(side: str, size: Size) -> dict[str, Any]:
    numbers = {"--rows": size.rows, "--features": size.features, "--threads": size.threads, "--rounds": size.rounds}
    command = [sys.executable, "-m", "ml.bench", "--side", side]
    command += [str(part) for pair in numbers.items() for part in pair]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
