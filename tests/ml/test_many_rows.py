from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml import Options, Preference, fit
from ml.booster import Growth, TreeRows, TreeStream, grow_from_stream, grow_until_enough, margins
from ml.frame import Array, as_frame
from ml.metrics import auc
from ml.posterior import fit_tastes
from ml.tastes import Block, Evidence


def rows(n: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((n, 6), dtype=np.float32)
    likes = (rng.random(n) < 1 / (1 + np.exp(-matrix[:, 0] - matrix[:, 1] * matrix[:, 2]))).astype(np.float64)
    return matrix, likes


def test_rows_that_come_in_pieces_grow_trees_as_good_as_rows_at_once() -> None:
    matrix, likes = rows(60_000)
    growth = Growth([f"f{j}" for j in range(6)], overrides={"num_iterations": 30, "learning_rate": 0.1})
    places = np.random.default_rng(5).permutation(60_000)
    inside, aside, asked = np.sort(places[:40_000]), np.sort(places[40_000:50_000]), places[50_000:]
    pieces = grow_from_stream(TreeStream(lambda at: matrix[at], likes, np.ones(60_000)), growth, inside, aside)
    at_once = grow_until_enough(
        TreeRows(matrix, likes, np.ones(60_000)).take(np.concatenate([inside, aside])),
        growth,
        np.arange(40_000, 50_000),
    )
    by_pieces, whole = (auc(likes[asked], margins((trees,), matrix[asked])) for trees in (pieces, at_once))
    # both end bins at sampled quantiles; 10,000 rows have a standard error of .004
    assert by_pieces == pytest.approx(whole, abs=0.004)
    assert by_pieces > 0.7


def test_no_encoder_ever_holds_the_rows_of_a_large_frame_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from ml.encoding import Encoder

    matrix, likes = rows(210_000)
    most: list[int] = []
    encode = Encoder.for_trees

    def watched(self: Encoder, frame: object) -> Array:
        found = encode(self, as_frame(frame))
        most.append(0 if found.base is not None else len(found))  # a view is nobody's memory
        return found

    monkeypatch.setattr(Encoder, "for_trees", watched)
    options = Options(parameters={"num_iterations": 3})
    scorer = fit({f"f{j}": matrix[:, j] for j in range(6)}, likes, time=np.arange(210_000.0), options=options)
    assert scorer.card.held_out > 0
    assert 0 < max(most) <= 50_000


def test_a_persons_weights_are_those_of_newtons_method_on_all_weights_at_once() -> None:
    """Compare with the joint mode, found by brute force for the variances that were learned."""
    rng = np.random.default_rng(6)
    persons, n = 30, 600
    design = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    person = rng.integers(persons, size=n)
    person[:50] = -1
    own = rng.standard_normal((persons + 1, 2))
    likes = (rng.random(n) < 1 / (1 + np.exp(-(design[:, :2] * own[person]).sum(axis=1)))).astype(np.float64)
    blocks = [Block(0, 1, 4.0, 0.7, learned=False), Block(1, 2, 0.1, 0.1), Block(2, 3, 0.05, 0.0, learned=False)]
    names = [f"p{j}" for j in range(persons)]
    found = fit_tastes(Evidence(design, likes, np.ones(n), person), blocks, names)
    joint = np.zeros((n, 3 + 2 * persons))
    joint[:, :3] = design
    for row in np.flatnonzero(person >= 0):
        joint[row, 3 + 2 * person[row] : 5 + 2 * person[row]] = design[row, :2]
    learned = float(found.crowd[1] ** 2 + found.crowd_covariance[1, 1])  # the variance's fixed point, but for its guess
    tau = [4.0, (learned + 0.2) / 3, 0.05]
    precision = np.zeros((joint.shape[1], joint.shape[1]))
    precision[:3, :3] = np.diag(1 / np.array(tau))
    for number in range(persons):
        part = slice(3 + 2 * number, 5 + 2 * number)
        precision[part, part] = np.linalg.inv(found.spread)
    weights = np.zeros(joint.shape[1])
    for _ in range(40):
        p = 1 / (1 + np.exp(-joint @ weights))
        hessian = (joint * (p * (1 - p))[:, None]).T @ joint + precision
        weights += np.linalg.solve(hessian, joint.T @ (likes - p) - precision @ weights)
    # the crowd's variance is a round behind its own fixed point
    assert found.crowd == pytest.approx(weights[:3], abs=0.02)
    assert found.means.ravel() == pytest.approx(weights[3:], abs=0.02)


def test_a_person_without_rows_is_scored_like_a_stranger() -> None:
    rng = np.random.default_rng(7)
    design = np.column_stack([np.ones(200), rng.standard_normal(200)])
    person = rng.integers(4, size=200)
    likes = (rng.random(200) < 0.5 + 0.3 * np.sign(design[:, 1])).astype(np.float64)
    blocks = [Block(0, 1, 4.0, 0.7), Block(1, 2, 0.1, 0.1)]
    found = fit_tastes(Evidence(design, likes, np.ones(200), person), blocks, ["a", "b", "c", "d", "absent"])
    assert sorted(found.persons) == ["a", "b", "c", "d"]
    assert np.array_equal(found.weights("absent"), found.stranger)


def test_many_persons_cost_no_memory_of_their_own_matrices() -> None:
    rng = np.random.default_rng(8)
    n, persons, d = 12_000, 6_000, 30
    design = rng.standard_normal((n, d))
    evidence = Evidence(design, (rng.random(n) < 0.5).astype(np.float64), np.ones(n), rng.integers(persons, size=n))
    found = fit_tastes(evidence, [Block(0, d, 0.1, 0.1)], [f"p{j}" for j in range(persons)])
    assert found.covariances.shape == (len(found.persons), d)  # only the diagonals
    assert np.all(found.covariances > 0)
    assert isinstance(replace(found), type(found))


def test_a_large_frame_with_persons_learns_their_tastes() -> None:
    rng = np.random.default_rng(9)
    n = 205_000
    size = rng.standard_normal(n)
    person = rng.integers(40, size=n)
    sign = np.where(person % 2 == 0, 1.0, -1.0)
    likes = (rng.random(n) < 1 / (1 + np.exp(-2 * sign * size))).astype(np.float64)
    names = np.array([f"p{j}" for j in range(40)], dtype=object)[person]
    options = Options(parameters={"num_iterations": 5})
    scorer = fit({"size": size}, likes, names, time=np.arange(n, dtype=float), options=options)
    assert isinstance(scorer, Preference)
    small, large = scorer.score({"size": [-1.0, 1.0]}, "p1")
    assert small > large + 0.5
