"""Which kind a request is: what it learns, when it is silent, and that a saved one is the same one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml import wording
from ml.category import SURE, Category
from ml.errors import ArtifactError, RowsError
from tests.ml.requests import requests


@pytest.fixture(scope="module")
def learned() -> Category:
    texts, labels = requests()
    return Category.fit(texts, labels)


def test_it_names_the_label_of_requests_it_has_not_seen(learned: Category) -> None:
    texts, labels = requests(60, seed=2)
    assert np.mean([a == b for a, b in zip(learned.name(texts), labels, strict=True)]) > 0.9


def test_probabilities_of_all_labels_add_up_to_one(learned: Category) -> None:
    texts, _ = requests(20, seed=3)
    assert np.allclose(learned.probabilities(texts).sum(axis=1), 1.0)
    assert learned.names == ("many", "one", "two")


def test_a_clear_request_is_sure_and_says_nothing_more(learned: Category) -> None:
    guess = learned.guess("Please draw a cat, number 5.")
    assert (guess.label, guess.sure, guess.reason) == ("one", True, "")
    assert guess.probability >= SURE


def test_words_nobody_has_seen_are_for_somebody_else_to_judge(learned: Category) -> None:
    guess = learned.guess("Überweise bitte siebzig Franken ans Konto der Hausverwaltung")
    assert not guess.sure
    assert "familiar" in guess.reason


def test_a_probability_below_what_is_asked_for_is_not_sure(learned: Category) -> None:
    guess = learned.guess("Please draw a cat, number 5.", sure=1.0)
    assert not guess.sure
    assert "below 1.00" in guess.reason


def test_few_requests_give_shares_and_never_a_sure_answer() -> None:
    texts, labels = requests(40)
    scorer = Category.fit(texts, labels)
    assert scorer.card.method == "smoothed_rates"
    assert not scorer.card.verdict.promote
    assert not scorer.guess(texts[0], sure=0.1).sure
    share = labels.count("one") / len(labels)
    assert scorer.probabilities([texts[0]])[0][scorer.names.index("one")] == pytest.approx(share)


def test_a_label_with_a_handful_of_requests_is_too_few_as_well() -> None:
    texts, labels = requests(200)
    scorer = Category.fit([*texts, "one of a kind"], [*labels, "rare"])
    assert scorer.card.method == "smoothed_rates"


def test_labels_that_have_nothing_to_do_with_the_words_are_not_promoted() -> None:
    texts, _ = requests(200)
    rng = np.random.default_rng(0)
    labels = [("heads", "tails")[int(j)] for j in rng.integers(2, size=len(texts))]
    scorer = Category.fit(texts, labels)
    assert not scorer.card.verdict.promote
    assert float(np.abs(scorer.probabilities(texts) - 0.5).mean()) < 0.25


def test_a_saved_scorer_says_the_same(learned: Category, tmp_path: Path) -> None:
    texts, _ = requests(20, seed=4)
    learned.save(tmp_path / "category.txt")
    read = Category.load(tmp_path / "category.txt")
    assert np.allclose(read.probabilities(texts), learned.probabilities(texts), atol=1e-5)
    assert read.name(texts) == learned.name(texts)
    assert read.card == learned.card
    assert read.explain(texts[0]).parts[0][0] == learned.explain(texts[0]).parts[0][0]


def test_a_scorer_of_shares_can_be_saved_too(tmp_path: Path) -> None:
    texts, labels = requests(30)
    scorer = Category.fit(texts, labels)
    scorer.save(tmp_path / "category.txt")
    assert np.allclose(Category.load(tmp_path / "category.txt").probabilities(texts), scorer.probabilities(texts))


def test_a_broken_or_foreign_file_is_refused(learned: Category, tmp_path: Path) -> None:
    path = tmp_path / "category.txt"
    learned.save(path)
    path.write_text(path.read_text().replace('"names"', '"nomes"'))
    with pytest.raises(ArtifactError, match="broken"):
        Category.load(path)
    with pytest.raises(ArtifactError, match="kind"):
        Category.from_content({"kind": "category", "body": {}})


def test_same_requests_give_the_same_scorer_for_any_hash_seed(tmp_path: Path) -> None:
    program = (
        "from ml.category import Category\nfrom tests.ml.requests import requests\n"
        "texts, labels = requests(150)\nCategory.fit(texts, labels).save(r'{path}')\n"
    )
    texts = []
    for number in ("1", "2"):
        path = tmp_path / number
        call = [sys.executable, "-c", program.format(path=path)]
        root = Path(__file__).parents[2]
        subprocess.run(call, check=True, cwd=root, env={"PYTHONHASHSEED": number, "PYTHONPATH": str(root)})
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_what_speaks_for_a_label_is_named(learned: Category) -> None:
    told = learned.explain("Please draw a cat, then find the date, then fix the code, then count the words.", "many")
    assert dict(told.parts)["(words)"] > 0
    with pytest.raises(RowsError, match="not among"):
        learned.explain("x", "none")


@pytest.mark.parametrize(("texts", "labels"), [([], []), (["a"], []), (["a", "b"], ["x", ""])])
def test_what_cannot_be_learned_from_is_refused(texts: list[str], labels: list[str]) -> None:
    with pytest.raises(RowsError):
        Category.fit(texts, labels)


@pytest.mark.parametrize("text", ["", " \n", "\ud800", "'" * 50_000, "a" * 300_000, "a.b" * 40_000, "\"'" * 30_000])
def test_no_text_is_too_odd_or_too_long_to_measure(text: str) -> None:
    assert wording.shape([text]).shape == (1, len(wording.NAMES))
    assert wording.hashed([text], wording.letters, 64).shape == (1, 64)
    assert isinstance(wording.masked_tokens(text), list)


def test_what_stands_in_quotes_is_material_and_not_asked() -> None:
    assert wording.masked_tokens("Summarise 'and then they left' in notes.txt") == ["summarise", "QUOTE", "in", "FILE"]
    assert wording.masked_tokens("don't, it's fine") == ["don't", ",", "it's", "fine"]
