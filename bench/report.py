"""Turn results into a Markdown table and a JSON file."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.contenders import CONTENDERS
from bench.race import Result
from bench.work import Work

COLUMNS: tuple[tuple[str, Callable[[Result], float], str], ...] = (
    ("CPU ms a step", lambda result: result.cpu_ms, ".2f"),
    ("+ Postgres", lambda result: result.postgres_cpu_ms, ".2f"),
    ("+ Redis", lambda result: result.redis_cpu_ms, ".2f"),
    ("makespan ÷ ideal", lambda result: result.over_ideal, ".2f"),
    ("done", lambda result: result.done, ".0f"),
    ("lost", lambda result: result.lost, ".0f"),
    ("doubled", lambda result: result.doubled, ".0f"),
    ("failed workflows", lambda result: result.failed, ".0f"),
    ("peak RSS MB", lambda result: result.peak_rss_mb, ".0f"),
    ("most in flight", lambda result: result.most_open, ".0f"),
)


def describe_machine() -> dict[str, str]:
    """Say what the figures were measured on."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kb = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": f"{models[0] if models else platform.processor()} x {len(os.sched_getaffinity(0))}",
        "memory": f"{memory_kb / 1024**2:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Name the versions of what these contenders stand on."""
    packages = sorted({package for name in names for package in CONTENDERS[name].packages})
    return {package: version(package) for package in packages}


def table(results: list[Result]) -> str:
    """Write a Markdown table: a row a contender, its median and, where rounds differ, the span."""
    lines = ["| | " + " | ".join(title for title, _, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in dict.fromkeys(result.contender for result in results):
        mine = [result for result in results if result.contender == name]
        cells = [_cell([read(result) for result in mine], form) for _, read, form in COLUMNS]
        mark = "" if CONTENDERS[name].durable else " ¹"
        lines.append(f"| {CONTENDERS[name].title}{mark} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n¹ not durable: what a killed process held is lost"


def headline(work: Work, repeats: int, machine: dict[str, str], versions: dict[str, str]) -> str:
    """Say what was done, on what."""
    facts = "; ".join(f"{name} {value}" for name, value in {**machine, **versions}.items())
    return (
        f"{work.workflows} workflows at once, 1 → 4 → 1 calls of {work.latency_s:g} s: {work.steps} steps, "
        f"ideal {work.ideal_s:g} s. Median of {repeats} (least..most), contenders in turn.\n\n{facts}"
    )


def document(work: Work, results: list[Result], machine: dict[str, str], versions: dict[str, str]) -> dict[str, Any]:
    """Collect everything as JSON, each round by itself."""
    return {
        "work": {
            "workflows": work.workflows,
            "latency_s": work.latency_s,
            "steps": work.steps,
            "ideal_s": work.ideal_s,
        },
        "machine": machine,
        "versions": versions,
        "rounds": [result.to_json() for result in results],
    }


def _cell(values: list[float], form: str) -> str:
    least, most = f"{min(values):{form}}", f"{max(values):{form}}"
    middle = f"{statistics.median(values):{form}}"
    return middle if least == most else f"{middle} ({least}..{most})"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
