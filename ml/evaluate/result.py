"""One measured number and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass

WIDTHS = (20, 46, 7, 17, 9, 7, 15, 7, 8)
TITLES = ("set", "what", "n", "split", "baseline", "ours", "95 % interval", "bar", "seconds")


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Args:
        what: the measure.
        n: rows or choices it is the mean of.
        split: what was kept apart.
        baseline: a plain rule on the same rows; None where there is none.
        ours: the scorer.
        interval: 95 %, by bootstrap over people or groups.
        bar: what it should reach; None for information only.
    """

    what: str
    n: int
    split: str
    baseline: float | None
    ours: float
    interval: tuple[float, float]
    bar: float | None = None


def head() -> str:
    """Print the titles."""
    return _columns(TITLES)


def line(name: str, result: Result, seconds: float) -> str:
    """Print one result; the seconds are those of its whole set."""
    low, high = result.interval
    return _columns(
        (
            name,
            result.what,
            str(result.n),
            result.split,
            "" if result.baseline is None else f"{result.baseline:.3f}",
            f"{result.ours:.3f}",
            f"{low:.3f} to {high:.3f}",
            "" if result.bar is None else f"{result.bar:.2f}",
            f"{seconds:.0f}",
        )
    )


def _columns(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()
