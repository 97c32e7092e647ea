"""How requests are read for the linear layer, and which of them are too strange to judge.

Symbols: n texts · s sparse columns · f shape columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from ml import artifact, wording
from ml.errors import ArtifactError
from ml.frame import Floats

WORD_BUCKETS, LETTER_BUCKETS, PAIR_BUCKETS = 1 << 15, 1 << 15, 1 << 16
WIDTH = WORD_BUCKETS + LETTER_BUCKETS + PAIR_BUCKETS + len(wording.NAMES)
LONGEST_RUN = 3  # words
CLIP = 3.0  # standard deviations at which the shape stops counting
FAMILIAR_COUNT = 4  # times a word was seen to be familiar
STRANGE_SHARE = 0.005  # of the requests learned from are less familiar than what is still judged


@dataclass(frozen=True)
class Reading:
    """A fitted encoding of texts.

    Args:
        common: words that form pairs.
        mean: of the shape columns, shape (f,).
        scale: their standard deviations.
        familiar: shape (WORD_BUCKETS,), 1 where a word was seen often enough.
        strange_below: share of familiar words under which a text is too strange to judge.
    """

    common: frozenset[str]
    mean: Floats
    scale: Floats
    familiar: Floats
    strange_below: float

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Reading:
        """Learn common words, scales and what is familiar."""
        measured = wording.shape(texts)
        words = _words(texts)
        counts = np.asarray(words.getnnz(axis=0)).ravel()
        reading = cls(
            wording.common_words(texts),
            measured.mean(axis=0),
            np.maximum(measured.std(axis=0), 1e-6),
            (counts >= FAMILIAR_COUNT).astype(np.float64),
            0.0,
        )
        return replace(reading, strange_below=float(np.quantile(reading.familiarity(texts), STRANGE_SHARE)))

    def familiarity(self, texts: Sequence[str]) -> Floats:
        """Give each text's share of familiar words, shape (n,); 0 for a text without words."""
        words = _words(texts)
        sizes = np.maximum(1, words.getnnz(axis=1))
        return np.asarray(((words > 0) @ self.familiar) / sizes, dtype=np.float64)

    def columns(self, texts: Sequence[str], measured: Floats) -> sp.csr_matrix:
        """Encode for the linear layer: shape (n, s), float32."""
        scaled = np.clip((measured - self.mean) / self.scale, -CLIP, CLIP) / CLIP
        blocks = [
            wording.hashed(texts, lambda t: wording.runs(wording.masked_tokens(t), 1, LONGEST_RUN), WORD_BUCKETS),
            wording.hashed(texts, wording.letters, LETTER_BUCKETS),
            wording.hashed(texts, lambda t: wording.pairs(t, self.common), PAIR_BUCKETS),
            sp.csr_matrix(scaled.astype(np.float32)),
        ]
        return sp.hstack(blocks, format="csr", dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """Write the encoding as JSON."""
        return {
            "common": sorted(self.common),
            "mean": artifact.pack(self.mean),
            "scale": artifact.pack(self.scale),
            "familiar": np.packbits(self.familiar.astype(bool)).tobytes().hex(),
            "strange_below": self.strange_below,
            "shape": list(wording.NAMES),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Reading:
        """Read what `to_json` wrote."""
        if value["shape"] != list(wording.NAMES):
            raise ArtifactError("the scorer measured the shape of texts otherwise than this program does")
        bits = np.frombuffer(bytes.fromhex(value["familiar"]), dtype=np.uint8)
        return cls(
            frozenset(map(str, value["common"])),
            artifact.unpack(value["mean"]),
            artifact.unpack(value["scale"]),
            np.unpackbits(bits).astype(np.float64),
            float(value["strange_below"]),
        )


def _words(texts: Sequence[str]) -> sp.csr_matrix:
    return wording.hashed(texts, lambda text: wording.runs(wording.masked_tokens(text), 1, 1), WORD_BUCKETS)
