"""Records of the database as a model is shown them: data on lines of JSON between marks, bounded, in a stable order.

Anybody who may write into the base writes these texts. JSON keeps each within its quotation marks, and no text can
write the mark that ends the list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.studio.model import Structure
from app.studio.plain_strategist import PHRASE_FLAG
from app.studio.vocabulary import FIXED, FORMS, FREE

MOST_LISTED = 300
LOT = 50
"""Structures a part of the prompt. New ones change the last part only, so that vendors' caches keep those before it."""

SKELETON_CHARS = 900
VALUE_CHARS = 120
MOST_ATTRIBUTES = 12


def quote(value: Any) -> str:
    """Write a value as JSON on one line that cannot end a list of ours."""
    return json.dumps(value, ensure_ascii=False).replace("</", "<\\/")


def enclose(mark: str, lines: Iterable[str]) -> str:
    """Write lines between a mark and its end."""
    return "\n".join([f"<{mark}>", *lines, f"</{mark}>"])


def cut(text: str, most: int) -> str:
    """Shorten a text, and show that it was."""
    return text if len(text) <= most else text[: most - 1] + "…"


def describe_vocabulary() -> str:
    """Write the phrases that the studio has words for; always the same."""
    forms = [quote({"form": name, "skeleton": text}) for name, text in FORMS.items()]
    phrases = [quote({"place": name, "phrases": list(values)}) for name, values in {**FIXED, **FREE}.items()]
    return (
        "# The vocabulary\n\nThe forms that the studio composes structures from, and phrases it knows for each place."
        " Use them as values of attributes where they fit; new phrases are welcome where they show something new.\n"
        + enclose("vocabulary", [*forms, *phrases])
    )


def split_listed(structures: Sequence[Structure]) -> tuple[Sequence[Structure], Sequence[Structure]]:
    """Divide a catalogue into what is too old to be listed and what is.

    The border moves by whole lots, so that the listed part stays as it is while a lot fills.
    """
    beyond = max(0, len(structures) - MOST_LISTED)
    begin = -(-beyond // LOT) * LOT
    return structures[:begin], structures[begin:]


def describe_catalogue(structures: Sequence[Structure]) -> tuple[str, ...]:
    """Write the listed structures in lots.

    Args:
        structures: usable ones, oldest first.

    Returns:
        A text a lot; one that says so where there is none.
    """
    _, listed = split_listed(structures)
    lots = [listed[at : at + LOT] for at in range(0, len(listed), LOT)]
    if not lots:
        return ("# The catalogue\n\nIt is empty: begin it.",)
    return tuple(
        f"# The catalogue, part {number}\n\n" + enclose("structures", [describe_structure(item) for item in lot])
        for number, lot in enumerate(lots, start=1)
    )


def describe_structure(item: Structure) -> str:
    """Write one structure as a line."""
    shown: dict[str, Any] = {"id": item.structure_id, "skeleton": cut(item.skeleton, SKELETON_CHARS)}
    if item.renderer:
        shown["renderer"] = item.renderer
    attributes = _shown_attributes(item.attributes)
    if attributes:
        shown["attributes"] = attributes
    return quote(shown)


def _shown_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what repeats the skeleton's own phrases."""
    named = {name: value for name, value in attributes.items() if not name.startswith(PHRASE_FLAG)}
    return {
        name: cut(value, VALUE_CHARS) if isinstance(value, str) else value
        for name, value in sorted(named.items())[:MOST_ATTRIBUTES]
    }
