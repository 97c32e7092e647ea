from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import dataclasses, sys
import ml
from tests.ml.rows import QUICK, likes, without

path, kind, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = likes(persons=12)
options = dataclasses.replace(QUICK, threads=threads)
if kind == "preference":
    fitted = ml.fit(rows, "liked", "person", time="at", item="colour", options=options)
else:
    fitted = ml.fit(without(rows, "liked"), "colour", "person", time="at", options=options)
fitted.save(path)
who = rows["person"] if kind == "preference" else None
loaded = ml.load(path, feature_set=fitted.card.feature_set)
print(fitted.score(rows, who).tobytes().hex(), loaded.score(rows, who).tobytes().hex(), fitted.card.data_hash)
"""


@pytest.mark.parametrize("kind", ["preference", "roster"])
def test_three_restarts_with_other_hash_seeds_make_the_same_artifact_and_scores(kind: str, tmp_path: Path) -> None:
    started = {
        seed: subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / seed), kind, threads],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed, threads in (("0", "1"), ("1", "2"), ("77", "1"))
    }
    said = {seed: process.communicate()[0] for seed, process in started.items()}
    assert [process.returncode for process in started.values()] == [0, 0, 0]
    assert len(set(said.values())) == 1
    assert all(said.values())
    artifacts = {(tmp_path / seed).read_bytes() for seed in started}
    assert len(artifacts) == 1
