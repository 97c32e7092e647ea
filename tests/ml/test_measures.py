from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ml
from ml.evaluate.__main__ import SETS, main
from ml.frame import as_frame
from ml.metrics import auc, auc_error, calibration_error, interval, macro_f1, recovered_gap, top_hits
from ml.splits import keep_aside


def test_area_under_the_curve_counts_ties_half() -> None:
    assert auc(np.array([0, 1, 0, 1]), np.array([1.0, 2.0, 2.0, 3.0])) == 0.875
    assert auc(np.array([1, 1]), np.array([1.0, 2.0])) == 0.5


def test_the_error_of_an_area_is_how_far_areas_of_other_rows_lie_apart() -> None:
    rng = np.random.default_rng(12)
    found, told = [], []
    for _ in range(300):
        y = (rng.random(200) < 0.3).astype(float)
        s = rng.standard_normal(200) + y
        found.append(auc(y, s))
        told.append(auc_error(y, s, np.arange(200)))
    # 300 draws tell a deviation to within a twentieth, twice
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.1)


def test_rows_of_one_person_make_an_area_less_sure() -> None:
    rng = np.random.default_rng(13)
    person = np.repeat(np.arange(20), 10)
    y = (rng.random(200) < 0.5).astype(float)
    s = y + np.repeat(rng.standard_normal(20), 10) * 2
    assert auc_error(np.sort(y), s, person) > 1.2 * auc_error(np.sort(y), s, np.arange(200))


def test_top_hits_share_ties() -> None:
    hits = top_hits(np.array([1, 1, 2, 2]), np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.9, 0.1]))
    assert hits.tolist() == [0.5, 0.0]


def test_a_random_router_wins_half_the_gap_back_and_a_perfect_one_more() -> None:
    weak, strong = np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4)
    assert recovered_gap(weak, strong, np.zeros(4)) == pytest.approx(0.5)
    assert recovered_gap(weak, strong, strong - weak) == pytest.approx(0.75)


def test_macro_f1_and_calibration_of_perfect_answers() -> None:
    names = np.array(["a", "b", "b"])
    assert macro_f1(names, names) == 1.0
    y = np.array([0.0, 1.0] * 50)
    assert calibration_error(y, y) == 0.0


def test_an_interval_over_groups_is_wider_when_rows_of_a_group_agree() -> None:
    values = np.repeat([0.0, 1.0] * 5, 20)
    low, high = interval(values, np.repeat(np.arange(10), 20))
    alone_low, alone_high = interval(values, np.arange(200))
    assert high - low > 2 * (alone_high - alone_low)


def test_no_person_is_on_both_sides_of_a_split() -> None:
    person = np.repeat(np.arange(20), 7)
    aside = keep_aside("group", 0.2, None, person, seed=3)
    assert not set(person[aside]) & set(person[~aside])
    assert len(set(person[aside])) == 4


def test_equal_times_stay_on_one_side() -> None:
    time = np.array([1, 1, 1, 2, 2, 2])
    assert keep_aside("time", 0.2, time, np.arange(6), seed=0).tolist() == [False] * 3 + [True] * 3


def test_rows_are_read_alike_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,x\n,y\n", encoding="utf-8")
    records = [{"a": 1, "b": "x"}, {"b": "y"}]
    prints = {as_frame(rows).fingerprint() for rows in (path, records, {"a": [1, None], "b": ["x", "y"]})}
    assert len(prints) == 1


def test_absent_data_are_named_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("skipped") == len(SETS)


def test_what_is_learned_here_knows_nothing_of_the_application() -> None:
    for path in Path(ml.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "from app" not in text
        assert "import app" not in text
        assert "pickle" not in text
