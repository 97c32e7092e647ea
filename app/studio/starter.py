"""The structures an empty installation begins with, so that its first batch has something to work from."""

from __future__ import annotations

from app.studio.model import Structure
from app.studio.vocabulary import FIXED, compose_skeleton

# form, then the places of its setting, light, camera and mood in the vocabulary
_CATALOGUE: tuple[tuple[str, int, int, int, int], ...] = (
    ("editorial", 0, 10, 1, 5),
    ("street", 9, 7, 10, 2),
    ("travel", 13, 2, 2, 3),
    ("studio", 7, 9, 8, 4),
    ("portrait", 15, 2, 0, 0),
    ("motion", 6, 3, 5, 8),
    ("detail", 10, 6, 11, 6),
    ("still_life", 3, 1, 6, 7),
    ("editorial", 4, 0, 0, 0),
    ("street", 2, 3, 4, 8),
    ("travel", 1, 1, 9, 9),
    ("studio", 15, 8, 5, 1),
    ("motion", 14, 5, 7, 5),
    ("portrait", 12, 10, 3, 6),
    ("editorial", 11, 4, 8, 7),
    ("travel", 8, 4, 1, 9),
)


def starter_structures() -> list[Structure]:
    """Compose the starter catalogue.

    Returns:
        Sixteen structures with ids from 1, always the same.
    """
    return [_compose(number, *entry) for number, entry in enumerate(_CATALOGUE, start=1)]


def _compose(number: int, form: str, setting: int, light: int, camera: int, mood: int) -> Structure:
    attributes = {
        "form": form,
        "setting": FIXED["setting"][setting],
        "light": FIXED["light"][light],
        "camera": FIXED["camera"][camera],
        "mood": FIXED["mood"][mood],
    }
    return Structure(str(number), compose_skeleton(form, attributes), attributes=attributes, source="starter")
