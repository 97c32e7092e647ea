from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ml
from ml.card import Card, Verdict
from ml.plot import draw_cards, plot_cards
from tests.ml.rows import QUICK, likes, without

LONG = "a_name_that_somebody_gave_to_a_column_because_it_says_everything_about_it"


def card() -> Card:
    return ml.fit(without(likes(), "at"), "liked", "person", options=QUICK).card


def versions(many: int) -> list[Card]:
    """Make cards of a scorer that learned more and more, of names long and short, some promoted."""
    first = card()
    names = {f"{LONG}_{j}" if j % 2 else f"column {j}": 0.5 / 2**j + 0.02 for j in range(14)}
    rng = np.random.default_rng(14)
    return [
        replace(
            first,
            rows=int(200 * 1.4**j),
            metrics={"auc": 0.6 + 0.02 * j + 0.02 * rng.random(), "baseline_auc": 0.6, "auc_error": 0.05 / (j + 1)},
            importances=names,
            verdict=Verdict(promote=j % 3 != 1, reason="as it was"),
        )
        for j in range(many)
    ]


def test_a_picture_is_a_png(tmp_path: Path) -> None:
    path = tmp_path / "scorer.png"
    plot_cards([card()], path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("many", [1, 2, 9])
def test_no_text_of_a_picture_lies_on_another(many: int) -> None:
    figure = draw_cards(versions(many))
    figure.canvas.draw()
    page = figure.bbox
    for axes in figure.axes:
        marks = [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        marks += [*axes.get_xticklabels(), *axes.get_yticklabels()]
        legend = axes.get_legend()
        marks += [] if legend is None else legend.get_texts()
        boxes = [mark.get_window_extent() for mark in marks if mark.get_text() and mark.get_visible()]
        for j, box in enumerate(boxes):
            assert page.x0 <= box.x0 <= box.x1 <= page.x1
            assert page.y0 <= box.y0 <= box.y1 <= page.y1
            assert not any(box.overlaps(other) for other in boxes[j + 1 :])


def test_cards_of_older_programs_and_without_measures_are_drawn_too(tmp_path: Path) -> None:
    known = card()
    old = replace(known, metrics={"auc": 0.7, "baseline_auc": 0.6}, importances={})
    bare = replace(known, metrics={}, calibration=[], held_out=0)
    for number, cards in enumerate(([old], [bare], [bare, old], [old, bare])):
        path = tmp_path / str(number)
        plot_cards(cards, path)
        assert path.stat().st_size > 0


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ml.LearningError, match="nothing to draw"):
        draw_cards([])
