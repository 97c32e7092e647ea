"""Print one table for all data sets that are there; name those that are not.

`python -m ml.evaluate [--data FOLDER] [--only NAME] [--threads 1]`
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from ml.evaluate.likes import measure_designs, measure_electricity, measure_images
from ml.evaluate.names import measure_complexity, measure_incidents
from ml.evaluate.result import Result, head, line
from ml.evaluate.routing import measure_nine, measure_routellm, measure_thinking

SETS = {
    "choices_electricity.csv.gz": measure_electricity,
    "likes_web_designs.csv.gz": measure_designs,
    "quality_ai_images.csv.gz": measure_images,
    "assignments_incidents.csv.gz": measure_incidents,
    "requests_complexity.csv.gz": measure_complexity,
    "routing_routellm.csv.gz": measure_routellm,
    "routing_thinking_on_off.csv.gz": measure_thinking,
    "routing_nine_models.csv.gz": measure_nine,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for; the exit status is 0 even where a bar is missed, as a table is not a test."""
    parser = argparse.ArgumentParser(prog="python -m ml.evaluate", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the sets")
    parser.add_argument("--only", default="", help="part of a set's name")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    _say(head())
    for name, measure in SETS.items():
        if options.only not in name:
            continue
        path = options.data / name
        if not path.exists():
            _say(f"{name}: not in {options.data}, skipped")
            continue
        began = time.perf_counter()
        results: list[Result] = measure(path, options.threads)
        seconds = time.perf_counter() - began
        for result in results:
            _say(line(name.partition(".")[0], result, seconds))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
