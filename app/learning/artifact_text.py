"""Scorers as the text that an artifact holds: what `ml/` saves in files and reads from them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from app.learning.ports import UnusableArtifactError

Loaded = TypeVar("Loaded")


class Saved(Protocol):
    """A scorer of `ml/` that writes itself into a file."""

    def save(self, path: str | Path) -> None:
        """Write it."""
        ...


def as_text(scorer: Saved) -> str:
    """Give what a scorer writes."""
    with _file() as path:
        scorer.save(path)
        return path.read_text(encoding="utf-8")


def load_text(load: Callable[[Path], Loaded], text: str) -> Loaded:
    """Read a scorer from its text.

    Args:
        load: of the scorer's kind, from a file.
        text: what `as_text` gave.

    Raises:
        UnusableArtifactError: broken, or of another kind.
    """
    from ml.errors import LearningError  # noqa: PLC0415 - only who reads a scorer loads the mathematics

    with _file() as path:
        path.write_text(text, encoding="utf-8")
        try:
            return load(path)
        except LearningError as error:
            raise UnusableArtifactError(f"{error}.") from None


@contextmanager
def _file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="batuta-scorer-") as folder:
        yield Path(folder) / "scorer.txt"
