"""Small seeded rows that tests learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml import Options

QUICK = Options(parameters={"num_iterations": 40})


def likes(persons: int = 20, each: int = 30, seed: int = 1, *, taste: float = 0.0) -> dict[str, list[Any]]:
    """Make likes that depend on colour and size; every other person has the opposite taste in size."""
    rng = np.random.default_rng(seed)
    n = persons * each
    person = np.repeat(np.arange(persons), each)
    size = rng.standard_normal(n)
    colour = rng.choice(["red", "green", "blue"], n)
    sign = np.where(person % 2 == 0, 1.0, -1.0)
    utility = 1.5 * (colour == "red") - 0.5 + taste * sign * size
    liked = (rng.random(n) < 1 / (1 + np.exp(-utility))).astype(float)
    return {
        "person": [f"p{j}" for j in person],
        "size": size.tolist(),
        "colour": colour.tolist(),
        "note": [f"a {c} thing on a white page" for c in colour],
        "at": list(range(n)),
        "liked": liked.tolist(),
    }


def without(rows: dict[str, list[Any]], *names: str) -> dict[str, list[Any]]:
    return {name: values for name, values in rows.items() if name not in names}
