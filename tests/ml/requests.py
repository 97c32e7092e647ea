"""Small seeded requests that tests learn from: their label depends on how many things are asked."""

from __future__ import annotations

import numpy as np

ACTS = ("translate the letter", "draw a cat", "read the page aloud", "count the words", "find the date", "fix the code")


def requests(count: int = 240, seed: int = 1) -> tuple[list[str], list[str]]:
    """Make requests of one, two or four acts with their labels."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        label, acts = (("one", 1), ("two", 2), ("many", 4))[int(rng.integers(3))]
        chosen = [ACTS[int(j)] for j in rng.choice(len(ACTS), acts, replace=False)]
        texts.append(f"Please {', then '.join(chosen)}, number {int(rng.integers(1000))}.")
        labels.append(label)
    return texts, labels
