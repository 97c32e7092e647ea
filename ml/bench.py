"""Cost of a fit against LightGBM alone: `python -m ml.bench [--rows 1000000] [--features 40] [--threads 1]`.

What is compared: LightGBM alone trains on the prepared matrix, with our parameters and as many rounds of trees; ours
does all of a fit on the frame as it was given: roles, rows kept aside, encoding, trees, tastes, calibration, baseline,
card. Both take turns, each time in a process of its own, and the ratio is that of two neighbours.

What a peak is: the highest resident memory of the process during the fit, less the resident memory just before it, when
the caller's frame, label and times are there already. It is counted in frames: one frame is rows · features · bytes a
number, the caller's own. `with the frame` adds 1 for the caller's frame itself.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import lightgbm as lgb
import numpy as np

from ml import booster
from ml.booster import MOST_ROUNDS_OF_MANY, Growth
from ml.frame import Array, as_frame
from ml.preference import Preference
from ml.scorers import fit
from ml.table import Options

SCORED = 100_000
PIECE = 50_000  # rows drawn at once: what they take is small beside the frame
KIB = 1024
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Size:
    """What to fit, on both sides.

    Args:
        rows: of the frame.
        features: of the frame, all numbers.
        threads: of the trees.
        rounds: of trees.
        number: float32 or float64.
        form: matrix, or columns: a mapping of names to arrays.
        persons: told apart; 0 for none.
    """

    rows: int
    features: int
    threads: int
    rounds: int
    number: str
    form: str
    persons: int


def make_rows(size: Size) -> tuple[Array, Array]:
    """Draw a matrix, shape (n, f), and likes that depend on a dozen of its columns."""
    rng = np.random.default_rng(11)
    weights = rng.standard_normal(8) * 0.4
    matrix = np.empty((size.rows, size.features), dtype=size.number)
    likes = np.empty(size.rows)
    for begin in range(0, size.rows, PIECE):
        part = matrix[begin : begin + PIECE]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        utility = part[:, :8] @ weights + 0.5 * part[:, 8] * part[:, 9] - 0.5 * np.abs(part[:, 10])
        likes[begin : begin + PIECE] = rng.random(len(part)) < 1 / (1 + np.exp(-utility))
    return matrix, likes


def run_ours(size: Size) -> dict[str, float]:
    """Fit with everything, then score."""
    matrix, likes = make_rows(size)
    rows: Any = matrix
    if size.form == "columns":
        rows = {f"f{j}": np.ascontiguousarray(matrix[:, j]) for j in range(size.features)}
    few = matrix[:SCORED].copy()
    del matrix
    moments = np.arange(size.rows, dtype=np.float64)  # likes come in order
    options = Options(threads=size.threads, parameters={"num_iterations": size.rounds})
    names = np.array([f"p{j}" for j in range(size.persons)], dtype=object)
    who = names[np.random.default_rng(12).integers(size.persons, size=size.rows)] if size.persons else None
    scorer, found = _measured(lambda: fit(rows, likes, who, time=moments, options=options), size)
    if not isinstance(scorer, Preference):
        raise TypeError("likes make a Preference")
    found |= _scored(lambda: scorer.score(few, threads=size.threads))
    trees = 0 if scorer.trees is None else scorer.trees[0].num_trees()
    return found | {"auc": scorer.card.metrics["auc"], "trees": trees}


def run_alone(size: Size) -> dict[str, float]:
    """Train LightGBM on the prepared matrix with the same parameters and rounds."""
    matrix, likes = make_rows(size)
    names = as_frame(matrix).names
    parameters = Growth(names, threads=size.threads).parameters(size.rows, float(likes.mean()), many=True)
    trained, found = _measured(
        lambda: lgb.train(parameters, lgb.Dataset(matrix, likes, params=parameters), size.rounds), size
    )
    few = matrix[:SCORED].copy()
    found |= _scored(lambda: booster.margins((trained,), few, threads=size.threads))
    return found | {"trees": trained.num_trees()}


def main(arguments: list[str] | None = None) -> int:
    """Run both sides by turns and print medians and spreads."""
    parser = argparse.ArgumentParser(prog="python -m ml.bench", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=MOST_ROUNDS_OF_MANY)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--numbers", nargs="+", default=["float32", "float64"], choices=("float32", "float64"))
    parser.add_argument("--forms", nargs="+", default=["matrix"], choices=("matrix", "columns"))
    parser.add_argument("--persons", type=int, default=0, help="told apart on our side; LightGBM alone knows none")
    parser.add_argument("--side", choices=("ours", "alone"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    sizes = [
        Size(given.rows, given.features, given.threads, given.rounds, number, form, given.persons)
        for number in given.numbers
        for form in given.forms
    ]
    if given.side:
        _say(json.dumps(run_ours(sizes[0]) if given.side == "ours" else run_alone(sizes[0])))
        return 0
    for size in sizes:
        pairs = [(_apart("alone", size), _apart("ours", size)) for _ in range(given.runs)]
        _report(size, pairs)
    return 0


def _report(size: Size, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> None:
    megabytes = size.rows * size.features * np.dtype(size.number).itemsize / 1e6
    whose = f", {size.persons:,} persons" if size.persons else ""
    _say(
        f"\n{size.rows:,} x {size.features} {size.number} as {size.form}{whose}: a frame is {megabytes:.0f} MB;"
        f" {size.threads} thread(s), {size.rounds} rounds, {len(pairs)} runs: median (lowest to highest)"
    )
    alone, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for what, key in (("seconds", "wall_s"), ("processor seconds", "cpu_s")):
        ratio = _spread(b[key] / a[key] for a, b in pairs)
        _say(f"{what:36} alone {_spread(r[key] for r in alone)}  ours {_spread(r[key] for r in ours)}  ratio {ratio}")
    for what, more in (("peak in frames, with the frame", 1.0), ("peak in frames, without it", 0.0)):
        bar = "  bar 2.00" if more else ""
        mine = _spread(more + r["peak"] for r in ours)
        _say(f"{what:36} alone {_spread(more + r['peak'] for r in alone)}  ours {mine}{bar}")
    for what, key in (("seconds", "score_s"), ("processor seconds", "score_cpu_s")):
        scored = f"{what} to score {SCORED:,}"
        _say(f"{scored:36} alone {_spread(r[key] for r in alone)}  ours {_spread(r[key] for r in ours)}")
    _say(f"{'AUC on rows kept aside, trees':36} {ours[0]['auc']:.4f}, {ours[0]['trees']:.0f}; bars: 1.30 times, 1 s")


def _spread(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def _apart(side: str, size: Size) -> dict[str, float]:
    given = asdict(size)
    given["numbers"], given["forms"] = given.pop("number"), given.pop("form")
    command = [sys.executable, "-m", "ml.bench", "--side", side]
    command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measured(fitting: Callable[[], Any], size: Size) -> tuple[Any, dict[str, float]]:
    """Run a fit; give what it made, its seconds, and its peak in frames above what was there before."""
    before = _forget_peak()
    began, busy = time.perf_counter(), time.process_time()
    made = fitting()
    wall, cpu = time.perf_counter() - began, time.process_time() - busy
    peak = _peak_bytes() - before
    return made, {
        "wall_s": wall,
        "cpu_s": cpu,
        "peak": peak / (size.rows * size.features * np.dtype(size.number).itemsize),
    }


def _scored(scoring: Callable[[], Any]) -> dict[str, float]:
    began, busy = time.perf_counter(), time.process_time()
    scoring()
    return {"score_s": time.perf_counter() - began, "score_cpu_s": time.process_time() - busy}


def _forget_peak() -> int:
    """Start the peak anew where the system can, and give the resident memory in bytes; else the peak so far."""
    try:
        RESET.write_text("5", encoding="ascii")
        return _status("VmRSS")
    except OSError:
        return _peak_bytes()


def _peak_bytes() -> int:
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KIB)


def _status(name: str) -> int:
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith(f"{name}:"))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
