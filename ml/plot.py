"""Draw what a scorer learned: how good it became, what it looks at, whether its probabilities hold.

Matplotlib is imported when a picture is asked for, and draws to a file without a screen. Colours are from Okabe and
Ito's palette, told apart also by those who do not see red and green; what colour says, a marker's shape says too.
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
    from matplotlib.figure import Figure

INK, ACCENT, PALE, REFUSED = "#22303c", "#0072b2", "#7a8793", "#d55e00"
BAND = 0.18  # opacity of what lies within two standard errors
MOST_BARS, FEWEST_BARS = 9, 6
LONGEST_NAME = 44  # characters; a longer one is cut in its middle, where names differ least
LOG_FROM = 8.0  # from so many times as many rows in the last version as in the first, the axis is logarithmic
DOTS_PER_INCH = 140
SHOWN = {"auc": "AUC", "top1": "top-1", "macro_f1": "macro-F1", "apgr": "APGR"}  # the first that a card has


def plot_cards(cards: Sequence[Card], path: str | Path) -> None:
    """Draw the cards of one scorer's versions, oldest first; importances and calibration are the last one's.

    Raises:
        LearningError: no cards, or Matplotlib is not installed.
    """
    draw_cards(cards).savefig(path, dpi=DOTS_PER_INCH, format="png", facecolor="white")


def draw_cards(cards: Sequence[Card]) -> Figure:
    """Draw as `plot_cards`, for whoever wants to go on drawing."""
    if not cards:
        raise LearningError("there is nothing to draw: give at least one card")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - only pictures need it
        from matplotlib.figure import Figure  # noqa: PLC0415 - only pictures need it
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - only pictures need it
    except ImportError as error:
        raise LearningError("pictures need Matplotlib: `make install` brings it, or: pip install matplotlib") from error
    figure = Figure(figsize=(15, 5.6), layout=ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.14))
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1.0, 0.95))
    _draw_learning(left, cards)
    _draw_importances(middle, cards[-1])
    _draw_calibration(right, cards[-1])
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(PALE)
        axes.tick_params(colors=INK, length=3)
    figure.suptitle(_headline(cards[-1]), color=INK, fontsize=14, x=0.012, ha="left")
    return figure


def _headline(card: Card) -> str:
    whose = {"preference": "persons"}.get(card.kind, "names")
    many = f", {card.persons:,} {whose}" if card.persons > 1 else ""
    return f"{card.kind} scorer ({card.method.replace('_', ' ')}), learned from {card.rows:,} rows{many}"


def _draw_learning(axes: Axes, cards: Sequence[Card]) -> None:
    name = next((name for name in SHOWN if name in cards[-1].metrics), "auc")
    rows = [card.rows for card in cards]
    ours, plain, error = (
        [card.metrics.get(key, math.nan) for card in cards] for key in (name, f"baseline_{name}", f"{name}_error")
    )
    reach = [0.0 if math.isnan(e) else 2 * e for e in error]
    low = [max(0.0, value - r) for value, r in zip(ours, reach, strict=True)]
    high = [min(1.0, value + r) for value, r in zip(ours, reach, strict=True)]
    if len(cards) > 1:
        axes.fill_between(rows, low, high, color=ACCENT, alpha=BAND, linewidth=0)
    below = [value - edge for value, edge in zip(ours, low, strict=True)]
    above = [edge - value for value, edge in zip(ours, high, strict=True)]
    handles: list[Any] = [
        axes.errorbar(rows, ours, yerr=[below, above], fmt="-o", color=ACCENT, capsize=3, label="scorer, ± 2 s.e."),
        *axes.plot(rows, plain, "--s", color=PALE, markerfacecolor="white", label="plain baseline, same rows"),
    ]
    refused = [(card.rows, value) for card, value in zip(cards, ours, strict=True) if not card.verdict.promote]
    if refused:
        style: dict[str, Any] = {"color": REFUSED, "markersize": 10, "markeredgewidth": 2, "linestyle": "none"}
        handles += axes.plot(*zip(*refused, strict=True), marker="x", label="not promoted", **style)
    if rows[-1] >= LOG_FROM * max(1, rows[0]):
        axes.set_xscale("log")
    _count_rows(axes, rows)
    axes.grid(axis="y", color=PALE, alpha=0.25)
    _name(axes, "Learning over time", "rows learned from, version by version", f"{SHOWN[name]} on rows it had not seen")
    _explain(axes, handles)


def _count_rows(axes: Axes, rows: Sequence[int]) -> None:
    """Name the versions' numbers of rows where there is room for each, and let others go unnamed."""
    first, last = rows[0], rows[-1]
    logarithmic = axes.get_xscale() == "log"

    def place(count: int) -> float:
        if last <= first:
            return 0.0
        return math.log(count / first) / math.log(last / first) if logarithmic else (count - first) / (last - first)

    shown: list[int] = []
    for count in sorted(set(rows), reverse=True):  # the newest has a right to its name
        if not shown or place(shown[-1]) - place(count) > 0.11:  # noqa: PLR2004 - of the axis: the width of a number
            shown.append(count)
    axes.set_xticks(shown, [f"{count:,}" for count in shown])
    axes.minorticks_off()
    if last <= first:
        axes.set_xlim(first - 1, first + 1)


def _draw_importances(axes: Axes, card: Card) -> None:
    """Draw bars with the names above them, so that a long name takes no width from the bars."""
    found = list(card.importances.items())
    bars = found[:MOST_BARS]
    rest = sum(share for _, share in found[MOST_BARS:])
    if rest > 0:
        bars.append((f"{len(found) - MOST_BARS} others", rest))
    places = [place - 0.12 for place in range(len(bars))][::-1]  # below the names
    longest = max([share for _, share in bars], default=1.0) or 1.0
    colours = [ACCENT] * min(len(found), MOST_BARS) + [PALE] * (rest > 0)
    axes.barh(places, [share for _, share in bars], height=0.3, color=colours)
    for place, (name, share) in zip(places, bars, strict=True):
        axes.annotate(
            _short(name), (0, place + 0.26), xytext=(2, 1), textcoords="offset points", color=INK, fontsize=9.5
        )
        told = "under 1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")  # noqa: PLR2004 - one percent
        axes.annotate(
            told, (share, place), xytext=(4, 0), textcoords="offset points", va="center", color=INK, fontsize=9.5
        )
    axes.set_xlim(0, 1.22 * longest)
    axes.set_ylim(min(-0.5, len(bars) - FEWEST_BARS), len(bars) - 0.2)  # few bars stand on top, no thicker than many
    axes.set_yticks([])
    axes.set_xticks([])
    axes.spines[["bottom"]].set_visible(False)
    what = "share of what the trees gained by it" if card.method == "boosted" else "share of the squared weights"
    _name(axes, "What it looks at", "", "")
    axes.annotate(
        what, (0, 1), xytext=(0, 9), xycoords="axes fraction", textcoords="offset points", color=INK, fontsize=9
    )


def _short(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    half = (LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _draw_calibration(axes: Axes, card: Card) -> None:
    _name(axes, "Do its probabilities hold?", "predicted", "observed")
    if not card.calibration:
        axes.text(0.5, 0.5, "no rows were kept aside", ha="center", va="center", color=PALE, transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    predicted, seen, rows = zip(*card.calibration, strict=True)
    spans = [_wilson(y, n) for y, n in zip(seen, rows, strict=True)]
    errors = [[max(0.0, y - low) for y, (low, _) in zip(seen, spans, strict=True)]]
    errors.append([max(0.0, high - y) for y, (_, high) in zip(seen, spans, strict=True)])
    most = min(1.0, math.ceil(10 * max(*predicted, *(high for _, high in spans))) / 10)
    counts = f"{min(rows):,}" if min(rows) == max(rows) else f"{min(rows):,} to {max(rows):,}"
    label = f"{len(rows)} groups of {counts} rows, 95 %"
    handles: list[Any] = [
        axes.errorbar(predicted, seen, yerr=errors, fmt="o", color=ACCENT, capsize=3, label=label),
        *axes.plot([0, most], [0, most], color=PALE, linestyle="--", linewidth=1, label="as it should be"),
    ]
    axes.set(xlim=(0, most), ylim=(0, most), xticks=_tenths(most), yticks=_tenths(most))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.grid(color=PALE, alpha=0.25)
    _explain(axes, handles)


def _tenths(most: float) -> list[float]:
    step = 0.1 if most <= 0.5 else 0.2  # noqa: PLR2004 - half of what there can be
    return [step * j for j in range(math.floor(most / step + 1e-9) + 1)]


def _wilson(share: float, rows: int) -> tuple[float, float]:
    """Give the 95 % interval of a share, which also holds near 0 and 1 and for few rows (Wilson, JASA 22, 1927)."""
    z = 1.96
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    reach = z / (1 + z**2 / rows) * math.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return middle - reach, middle + reach


def _explain(axes: Axes, handles: list[Any]) -> None:
    """Put the legend between title and axes, where nothing is drawn."""
    axes.legend(
        handles=handles,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=len(handles),
        fontsize=9,
        labelcolor=INK,
        columnspacing=1.2,
        handletextpad=0.5,
        borderaxespad=0.2,
    )


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold", pad=28)
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
