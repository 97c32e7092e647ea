"""What a request looks like in numbers: hashed words, hashed letters, and the shape of the text.

Symbols: n texts, s sparse columns, f shape columns.

Nothing here is learned, so nothing here can leak: the same text gives the same numbers on every machine and start, as
CRC-32 is used and never Python's own hash(). Quoted passages, addresses and file names are replaced by one word each,
because what they say is the material of a request, not what is asked.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from ml.frame import Floats

LONGEST = 20_000  # characters looked at: the beginning and the end of anything longer
TAIL = 4_000  # of them from the end, where the question often stands
LONGEST_FOR_LETTERS = 4_000  # letters are costly and say little that is new further on
LETTERS = (3, 5)
REACH = 8  # words between the two of a pair

ADDRESS, QUOTE, FILE = "URL", "QUOTE", "FILE"  # in capitals: no word of a text can be equal to them
_ADDRESS = re.compile(r"https?://\S+|www\.\S+")
_ENDINGS = "jpe?g|png|gif|wav|mp[34]|avi|mov|txt|pdf|csv|docx?|json|html?"
_FILE = re.compile(rf"(?<!\w)['\"]?[\w./-]{{1,200}}\.(?:{_ENDINGS})\b['\"]?", re.IGNORECASE)
_QUOTE = re.compile(r"(?<!\w)'[^'\n]{3,}'(?!\w)|\"[^\"\n]{2,}\"|“[^”\n]{2,}”")
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W\d_]{1,3}\b)?|[^\w\s]")
_OPTION = re.compile(r"^\s*\(?[A-Ja-j1-9][).:]", re.MULTILINE)
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_CLAUSE = re.compile(r"[,.;?!\n]|\b(?:and|then|after|also|y|luego|después|und|dann|et|puis)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")

# Words of order, cause and reference: they tell how a request is built in any domain.
CUES = (
    "and",
    "then",
    "after",
    "also",
    "finally",
    "first",
    "next",
    "based",
    "which",
    "it",
    "them",
    "this",
    "these",
    "both",
    "each",
    "while",
    "before",
    "once",
    "lastly",
    "using",
    "so",
    "or",
    "if",
    "to",
    "with",
    "from",
    "into",
    "for",
    "that",
    "the",
    "a",
    "my",
    "i",
    "please",
    "can",
    "you",
    "need",
    "want",
    "would",
    "like",
    "how",
    "what",
    "why",
    "not",
    "by",
    "of",
    "in",
    "on",
    "same",
    "second",
    "followed",
    "additionally",
    "result",
    "along",
    "is",
    "are",
    "was",
    "were",
    "be",
    "all",
    "any",
    "no",
    "y",
    "luego",
    "después",
    "finalmente",
    "primero",
    "además",
    "según",
    "cada",
    "para",
    "que",
    "como",
    "dann",
    "zuerst",
    "danach",
    "puis",
    "ensuite",
)
SIGNS = ",;:?!.()[]{}<>=+*/\\$^_%&|~\"'@#-\n"
NAMES = (
    *(
        "characters",
        "characters without quotes",
        "words",
        "different words",
        "sentences",
        "words a sentence",
        "clauses",
    ),
    *("quotes", "files", "addresses", "numbers", "digits", "capitals", "share of capitalised words"),
    *("letters a word", "longest word", "lines", "longest line", "shortest line", "first line", "last line"),
    *("options", "foreign characters", "compressed share"),
    *(f"sign {sign!r}" for sign in SIGNS),
    *(f"cue {cue}" for cue in CUES),
)


def shortened(text: str) -> str:
    """Cut the middle out of what is too long to look at."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - TAIL]}\n{text[-TAIL:]}"


def masked(text: str) -> str:
    """Put one word in the place of each address, file name and quoted passage."""
    text = _ADDRESS.sub(f" {ADDRESS} ", shortened(text))
    return _QUOTE.sub(f" {QUOTE} ", _FILE.sub(f" {FILE} ", text))


def tokens(text: str) -> list[str]:
    """Split a text into lower-case words and signs."""
    return [token.lower() for token in _TOKEN.findall(shortened(text))]


def masked_tokens(text: str) -> list[str]:
    """Split a text with its material masked; the masks stay in capitals."""
    kept = (ADDRESS, QUOTE, FILE)
    return [token if token in kept else token.lower() for token in _TOKEN.findall(masked(text))]


def words(text: str) -> list[str]:
    """Split a text into lower-case words, without signs."""
    return [token for token in tokens(text) if token[0].isalnum()]


def runs(items: Sequence[str], least: int, most: int) -> Iterator[str]:
    """Give every run of `least` to `most` neighbours."""
    for size in range(least, most + 1):
        for start in range(len(items) - size + 1):
            yield " ".join(items[start : start + size])


def letters(text: str) -> Iterator[str]:
    """Give every run of a few letters, across words."""
    line = f" {' '.join(text[:LONGEST_FOR_LETTERS].lower().split())} "
    for size in range(LETTERS[0], LETTERS[1] + 1):
        for start in range(len(line) - size + 1):
            yield line[start : start + size]


def pairs(text: str, common: frozenset[str]) -> Iterator[str]:
    """Give ordered pairs of common words that stand near each other: what is done before what."""
    found = [token for token in masked_tokens(text) if token in common]
    for start, first in enumerate(found):
        for second in found[start + 1 : start + 1 + REACH]:
            yield f"{first}>{second}"


def hashed(texts: Iterable[str], grams: Callable[[str], Iterable[str]], buckets: int) -> sp.csr_matrix:
    """Mark the grams of each text: shape (n, buckets), float32, rows of length 2 (shorter for very short texts)."""
    indices: list[int] = []
    data: list[float] = []
    bounds = [0]
    for text in texts:
        places = sorted({zlib.crc32(gram.encode("utf-8", "surrogatepass")) % buckets for gram in grams(text)})
        indices += places
        data += [2.0 / max(2.0, len(places) ** 0.5)] * len(places)  # long texts do not outvote short ones
        bounds.append(len(indices))
    return sp.csr_matrix((np.array(data, np.float32), indices, bounds), shape=(len(bounds) - 1, buckets))


def shape(texts: Sequence[str]) -> Floats:
    """Measure each text: shape (n, f), columns named by `NAMES`, amounts as log(1 + amount)."""
    rows = [_shape_of(text) for text in texts]
    return np.log1p(np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES)))


def _shape_of(text: str) -> list[float]:
    text = shortened(text)
    bare = masked(text)
    found = masked_tokens(text)
    said = [token for token in found if token[0].isalnum()]
    counts = Counter(said)
    raw = text.split()
    lines = [len(line) for line in text.split("\n")]
    sentences = max(1, len(_SENTENCE.findall(bare)))
    data = text.encode("utf-8", "replace")
    amounts: list[float] = [
        *(len(text), len(bare), len(said), len(counts), sentences, len(said) / sentences),
        *(len(_CLAUSE.split(bare)), counts[QUOTE], counts[FILE], counts[ADDRESS]),
        *(len(_NUMBER.findall(text)), sum(map(str.isdigit, text)), sum(map(str.isupper, text))),
        sum(word[0].isupper() for word in raw) / max(1, len(raw)),
        sum(map(len, said)) / max(1, len(said)),
        max(map(len, raw), default=0),
        *(len(lines), max(lines), min(lines), lines[0], lines[-1], len(_OPTION.findall(text))),
        sum(not character.isascii() for character in text),
        len(zlib.compress(data)) / max(1, len(data)),
    ]
    amounts += [text.count(sign) for sign in SIGNS]
    return amounts + [counts[cue] for cue in CUES]


def common_words(texts: Sequence[str], *, share: float = 0.004, most: int = 500) -> frozenset[str]:
    """Name the words that occur in at least a share of the texts, at most so many; ties by spelling."""
    counts = Counter(itertools.chain.from_iterable(set(masked_tokens(text)) for text in texts))
    least = max(3.0, share * len(texts))
    known = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
    return frozenset(known[:most])
