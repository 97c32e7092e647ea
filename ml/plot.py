"""Draw what a scorer learned: how good it became, what it looks at, whether its probabilities hold.

Matplotlib is imported when a picture is asked for, and draws to a file without a screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.card import Card
from ml.errors import LearningError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, PALE = "#1f2933", "#2563a8", "#9aa5b1"
MOST_BARS = 10
DOTS_PER_INCH = 130


def plot_cards(cards: Sequence[Card], path: str | Path) -> None:
    """Draw the cards of one scorer's versions, oldest first; importances and calibration are the last one's.

    Raises:
        LearningError: no cards, or Matplotlib is not installed.
    """
    if not cards:
        raise LearningError("there is nothing to draw: give at least one card")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only pictures need it
        from matplotlib.figure import Figure  # noqa: PLC0415 - only pictures need it
    except ImportError as error:
        raise LearningError("pictures need Matplotlib: `make install` brings it, or: pip install matplotlib") from error
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    _draw_learning(left, cards)
    _draw_importances(middle, cards[-1])
    _draw_calibration(right, cards[-1])
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
    last = cards[-1]
    figure.suptitle(
        f"{last.kind}, {last.method.replace('_', ' ')}: {last.rows:,} rows, {last.persons:,} persons", color=INK
    )
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def _draw_learning(axes: Axes, cards: Sequence[Card]) -> None:
    name = "auc" if "auc" in cards[-1].metrics else "top1"
    label = {"auc": "AUC", "top1": "top-1"}[name]
    rows = [card.rows for card in cards]
    ours = [card.metrics.get(name, math.nan) for card in cards]
    plain = [card.metrics.get(f"baseline_{name}", math.nan) for card in cards]
    axes.plot(rows, ours, marker="o", color=ACCENT, label="scorer")
    axes.plot(rows, plain, marker="o", color=PALE, label="plain baseline")
    chosen = [(card.rows, value) for card, value in zip(cards, ours, strict=True) if not card.verdict.promote]
    if chosen:
        axes.plot(*zip(*chosen, strict=True), "x", color="#b3261e", markersize=10, label="not promoted")
    axes.set(title="Learning", xlabel="rows learned from", ylabel=f"{label} on rows kept aside")
    axes.margins(y=0.25)
    axes.legend(frameon=False)


def _draw_importances(axes: Axes, card: Card) -> None:
    top = list(card.importances.items())[:MOST_BARS][::-1]
    bars: Any = axes.barh([name for name, _ in top], [share for _, share in top], color=ACCENT)
    axes.bar_label(bars, fmt="{:.0%}", padding=3, color=INK)
    axes.set(title="What it looks at", xlabel="share of the gain")
    axes.margins(x=0.15)


def _draw_calibration(axes: Axes, card: Card) -> None:
    axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", label="perfect")
    if card.calibration:
        predicted, seen, rows = zip(*card.calibration, strict=True)
        errors = [2 * math.sqrt(max(y * (1 - y), 0.25 / n) / n) for y, n in zip(seen, rows, strict=True)]
        axes.errorbar(predicted, seen, yerr=errors, fmt="o", color=ACCENT, capsize=2, label="found, ±2 s.e.")
    axes.set(title="Do its probabilities hold?", xlabel="predicted", ylabel="observed", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, loc="upper left")
