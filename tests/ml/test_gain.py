"""What is guessed of a stronger model's gain: on prompts like those judged, and on strangers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ml.gain import PART_NAMES, Gain, fit_gain
from ml.gain_parts import LANDMARKS, Judged, Surface, Texts

EASY = ("what is the capital of {}", "translate the word {} to French", "name the colour of {}")
HARD = ("prove the theorem about {}", "integrate {} over the sphere", "count the primes below {}")
STRANGE = "wer schrieb das Lied von {}"


def judged(count: int, seed: int = 3) -> Judged:
    """Make prompts judged with both models; the stronger one gains on hard ones alone."""
    rng = np.random.default_rng(seed)
    hard = rng.random(count) < 0.5
    kinds = [(HARD if each else EASY)[int(rng.integers(3))] for each in hard]
    prompts = [kind.format(f"thing{int(rng.integers(50))}") for kind in kinds]
    weaker = np.where(hard & (rng.random(count) < 0.8), 0.0, 1.0)
    return Judged(Texts.of(prompts), np.column_stack([weaker, np.ones(count)]), np.ones(count))


@pytest.fixture(scope="module")
def learned() -> Gain:
    return fit_gain(judged(1_100))[0]


def test_prompts_akin_share_their_gain_and_one_without_kin_gets_the_mean() -> None:
    rng = np.random.default_rng(0)
    side = rng.random(600) < 0.5
    themes = np.column_stack([side, ~side, np.zeros(600)]) + 0.05 * rng.standard_normal((600, 3))
    gains = side + 0.3 * rng.standard_normal(600)
    surface = Surface.fit(themes, gains, np.ones(600), seed=0)
    akin, other, strange = surface.values(np.array([[3.0, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.0]]))
    assert akin > 0.8
    assert other < 0.2
    assert other < strange < akin
    assert len(surface.landmarks) == LANDMARKS


def test_a_template_repeated_ten_times_as_often_hardly_moves_what_is_said_of_others() -> None:
    rng = np.random.default_rng(1)
    others = rng.standard_normal((300, 4))
    template = np.tile([[1.0, 1.0, 0.0, 0.0]], (1_000, 1))
    asked = rng.standard_normal((50, 4)) * [0.0, 0.0, 1.0, 1.0]
    told = []
    for times in (100, 1_000):
        themes = np.vstack([others, template[:times]])
        gains = np.concatenate([(others[:, 2] > 0) - 0.5, np.ones(times)])
        surface = Surface.fit(themes, gains, np.ones(len(gains)), seed=0)
        told.append(surface.values(asked) - surface.level)
    few, many = told
    assert np.corrcoef(few, many)[0, 1] > 0.9


def test_words_never_seen_make_a_prompt_a_stranger(learned: Gain) -> None:
    texts = Texts.of([EASY[0].format("thing7"), HARD[1].format("thing8"), STRANGE.format("Nachtigall")])
    near, hard, strange = learned.expect(texts)[2]
    assert strange < 0.1
    assert min(near, hard) > 0.5


def test_a_stranger_is_told_even_where_every_place_of_a_phrase_is_taken(learned: Gain) -> None:
    crowded = replace(learned, counts=np.ones_like(learned.counts))
    near, strange = crowded.expect(Texts.of([EASY[0].format("thing7"), STRANGE.format("Nachtigall")]))[2]
    assert strange < near - 0.05


def test_a_stranger_is_believed_by_its_themes_and_shape_and_not_by_its_words(learned: Gain) -> None:
    assert learned.strange.weights.tolist() == pytest.approx([2 / 3, 0.0, 1 / 3])


def test_what_each_part_adds_makes_up_the_gain_of_a_familiar_prompt(learned: Gain) -> None:
    texts = Texts.of([HARD[0].format("thing9")])
    base, added = learned.explain(texts)
    assert tuple(added) == PART_NAMES
    assert base + sum(added.values()) == pytest.approx(float(learned.expect(texts)[0][0]), abs=1e-6)


@pytest.mark.parametrize("count", [80, 1_100], ids=["without trees", "with trees"])
def test_a_gain_says_the_same_after_it_was_written_and_read(count: int) -> None:
    gain = fit_gain(judged(count))[0]
    again = Gain.from_json(json.loads(json.dumps(gain.to_json())))
    texts = judged(40, seed=9).texts
    for ours, read in zip(gain.expect(texts), again.expect(texts), strict=True):
        assert np.allclose(ours, read, atol=1e-4)


def test_the_same_prompts_give_the_same_gain_to_the_last_digit() -> None:
    rows = judged(200)
    assert fit_gain(rows)[0].to_json() == fit_gain(rows)[0].to_json()
