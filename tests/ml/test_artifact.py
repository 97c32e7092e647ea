from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ml
from ml import ArtifactError
from tests.ml.rows import QUICK, likes, without


def scorers() -> dict[str, ml.Preference | ml.Roster]:
    rows = without(likes(), "at")
    names = without(rows, "liked", "person")
    return {
        "boosted": ml.fit(rows, "liked", "person", item="colour", options=QUICK),
        "rates": ml.fit({name: values[:50] for name, values in rows.items()}, "liked", "person"),
        "roster": ml.fit(names, "colour"),
    }


def test_a_saved_scorer_is_text_and_scores_the_same_when_it_comes_back(tmp_path: Path) -> None:
    rows = without(likes(seed=3, persons=4), "at", "liked")
    for name, scorer in scorers().items():
        path = tmp_path / name
        scorer.save(path)
        path.read_text(encoding="utf-8")
        again = ml.load(path, feature_set=scorer.card.feature_set)
        who = None if name == "roster" else rows["person"]
        # arrays are kept in single precision: 1e-7 of each weight, a few hundred weights
        assert np.allclose(again.score(rows, who), scorer.score(rows, who), atol=1e-5)
        assert again.card.to_json() == scorer.card.to_json()


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("colour", "odour"),
        lambda text: json.dumps({"format": "something-else"}) + "\n{}",
        lambda text: "tree\nversion=v4\nnum_class=1\n",
        lambda text: text.replace('"format_version": 1', '"format_version": 9'),
        lambda text: "[1]\n[]",
        lambda text: "\x00\x80 not text",
    ],
)
def test_a_broken_or_foreign_artifact_is_one_clear_error(tmp_path: Path, harm: object) -> None:
    assert callable(harm)
    path = tmp_path / "scorer"
    ml.fit(without(likes(persons=3), "at"), "liked", "person").save(path)
    path.write_text(harm(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ArtifactError, match="scorer"):
        ml.load(path)


def test_a_missing_artifact_is_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no scorer"):
        ml.load(tmp_path / "absent")


def test_a_right_checksum_over_wrong_content_is_still_refused(tmp_path: Path) -> None:
    path = tmp_path / "scorer"
    for content in ({"kind": "preference"}, {"kind": "roster", "card": {}, "body": {}}, {"kind": "oracle"}):
        ml.artifact.write(path, content)
        with pytest.raises(ArtifactError):
            ml.load(path)


def test_a_scorer_of_another_feature_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scorer"
    ml.fit(without(likes(persons=3), "at"), "liked", "person").save(path)
    with pytest.raises(ArtifactError, match="feature set"):
        ml.load(path, feature_set="another")
