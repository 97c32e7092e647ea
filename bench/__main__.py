"""Run the comparison: `python -m bench --n 100 --latency 1`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from bench.contenders import CONTENDERS, DEFAULT, Contender
from bench.endpoint import allow_files
from bench.race import ContenderError, Result, race_once
from bench.report import describe_machine, document, headline, table, versions_of
from bench.servers import Servers, running_servers
from bench.work import Work


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="workflows at once (official: 1000)")
    parser.add_argument("--latency", type=float, default=1.0, help="seconds a call takes (official: 10)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--systems", default=",".join(DEFAULT), help=f"comma-separated, of {', '.join(CONTENDERS)}")
    parser.add_argument("--answer-bytes", type=int, default=200, help="size of the endpoint's answer")
    parser.add_argument("--processes", type=int, help="processes a contender, instead of its own best")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"), help="data and logs while it runs")
    parser.add_argument("--json", type=Path, default=Path("var/bench/results.json"))
    arguments = parser.parse_args()
    unknown = set(arguments.systems.split(",")) - CONTENDERS.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CONTENDERS)}")
    return arguments


def race_all(
    contenders: list[Contender], work: Work, servers: Servers, repeats: int, answer_bytes: int
) -> list[Result]:
    """Let each have its turn in each round, a different one first each time."""
    results: list[Result] = []
    for number in range(repeats):
        shift = number % len(contenders)
        for contender in contenders[shift:] + contenders[:shift]:
            print(f"round {number + 1} of {repeats}: {contender.title} … ", end="", file=sys.stderr, flush=True)
            try:
                result = race_once(contender, work, servers, answer_bytes)
            except ContenderError as error:
                print(error, file=sys.stderr)
                continue
            print(
                f"{result.cpu_ms:.2f} ms a step, {result.over_ideal:.2f} of ideal, {result.lost} lost", file=sys.stderr
            )
            results.append(result)
    return results


def main() -> int:
    """Measure, print the table, write the JSON file.

    Returns:
        0 when every contender finished every round, else 1; figures decide nothing.
    """
    arguments = read_arguments()
    allow_files()
    names = arguments.systems.split(",")
    contenders = [CONTENDERS[name] for name in names]
    if arguments.processes:
        contenders = [
            replace(
                each,
                copies=1 if each.copies == 1 else arguments.processes,
                workers=arguments.processes,
            )
            for each in contenders
        ]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    log = arguments.folder / "contenders.log"
    log.write_text(f"{time.ctime()}\n", encoding="utf-8")
    machine = describe_machine()
    with running_servers(arguments.folder) as servers:
        work = Work(arguments.n, arguments.latency, servers.endpoint_port, "", "", log=str(log.absolute()))
        results = race_all(contenders, work, servers, arguments.repeats, arguments.answer_bytes)
        versions = servers.versions() | versions_of(names)
    print(f"{headline(work, arguments.repeats, machine, versions)}\n\n{table(results)}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document(work, results, machine, versions), indent=1), encoding="utf-8")
    return 0 if len(results) == arguments.repeats * len(contenders) else 1


if __name__ == "__main__":
    sys.exit(main())
