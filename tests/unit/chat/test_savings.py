"""What routing saved and lost, and how sure that is."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.chat.savings import FEWEST_JUDGED, Savings, Share, measure_loss
from app.commands.savings import read_since, tell_losses
from app.errors import InvalidError

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NONE = (Share(0, 0), Share(0, 0))


def savings(cheaper: tuple[Share, Share] = NONE, scored: tuple[Share, Share] = NONE, moved: int = 0) -> Savings:
    return Savings(NOW, 10, moved, 1, Decimal("0.25"), Decimal("0.75"), cheaper, scored)


def test_a_loss_is_the_strong_models_share_less_the_others_with_newcombes_interval() -> None:
    # Newcombe (1998), method 10, without correction: 56/70 against 48/80 is .2000 (.0524, .3339).
    loss = measure_loss(Share(48, 80), Share(56, 70))
    assert loss is not None
    assert (loss.mean, loss.low, loss.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-4)


@pytest.mark.parametrize("judged", [(FEWEST_JUDGED - 1, 1000), (1000, FEWEST_JUDGED - 1), (0, 0)])
def test_too_few_judged_of_either_kind_tell_nothing(judged: tuple[int, int]) -> None:
    few = (Share(0, judged[0]), Share(0, judged[1]))
    assert measure_loss(*few) is None
    shown = savings(few).to_json()["loss"]
    assert (shown["mean"], shown["judged"], shown["judged_held_out"]) == (None, *judged)
    assert "too few to tell" in shown["note"]
    assert "Too few to tell" in tell_losses(savings(few))[0]


def test_enough_judged_tell_the_loss_and_from_how_many() -> None:
    [line] = tell_losses(savings((Share(190, 200), Share(39, 40))))
    assert "200 judged" in line
    assert "40 judged" in line
    assert "+2.5%" in line


def test_what_the_scorer_moved_is_told_by_itself() -> None:
    assert len(tell_losses(savings(moved=3))) == 2


def test_the_strong_model_alone_would_have_cost_what_was_spent_and_saved() -> None:
    shown = savings(moved=4).to_json()
    assert (shown["dollars_spent"], shown["dollars_saved"], shown["dollars_always_thinking"]) == (0.25, 0.75, 1.0)
    assert shown["moved_share"] == 0.4


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30d", datetime(2026, 10, 21, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
    ],
)
def test_since_is_a_number_of_days_or_a_date(text: str, moment: datetime) -> None:
    assert read_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "-3d", "999999d", "d"])
def test_any_other_since_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read_since(text, NOW)
