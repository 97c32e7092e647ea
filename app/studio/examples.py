"""From what was shown and liked to rows that a scorer learns from.

A row is a showing: a prompt that was made from a structure. It is a positive when a like names the prompt's record, or
names the structure and no better showing of it (the newest one before the like that nothing has claimed). It is a
negative when a later showing is a positive and nothing claimed it: whoever liked the later one had come past it.
Showings after the newest positive are left out: nobody may have looked yet. What a base counted before us
(`statistics`) comes as weighted rows of its own.

Only what was known when a prompt was shown is a feature: its renderer, and its structure's words and attributes. What
came of a structure (likes, rates, trends) never is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.learning.model import TrainingRows
from app.studio.model import Structure

ITEM = "item"  # what `ml/` calls what is liked
RENDERER, SKELETON = "renderer", "skeleton"
_OWN = frozenset({ITEM, RENDERER, SKELETON})


@dataclass(frozen=True)
class Shown:
    """A prompt that was shown; times in seconds since 1970, `propensity` the probability of its structure."""

    prompt_id: int
    structure_id: str
    record_id: str | None
    renderer: str
    at_s: float
    propensity: float | None = None


@dataclass(frozen=True)
class Logged:
    """A prompt whose structure was drawn with a known probability, and whether it was liked."""

    structure_id: str
    propensity: float
    liked: bool


@dataclass(frozen=True)
class Liked:
    """A like."""

    record_id: str | None
    structure_id: str | None
    at_s: float


@dataclass(frozen=True)
class _Row:
    structure: Structure
    renderer: str
    label: int
    weight: float
    at_s: float


def gather_logged(structures: Sequence[Structure], shown: Sequence[Shown], liked: Sequence[Liked]) -> list[Logged]:
    """Give what an estimate of another policy needs: every judged showing with a propensity; oldest first."""
    known = _aliases(structures)
    shown = [one for one in shown if one.structure_id in known]
    claimed, _ = _claim(shown, liked, known)
    judged = shown[: max(claimed, default=-1) + 1]
    return [
        Logged(one.structure_id, one.propensity, place in claimed) for place, one in enumerate(judged) if one.propensity
    ]


def _aliases(structures: Sequence[Structure]) -> dict[str, str]:
    """Map both ids of each structure to its own; its own wins where one is another's record."""
    by_record = {item.record_id: item.structure_id for item in structures if item.record_id}
    return by_record | {item.structure_id: item.structure_id for item in structures}


def build_examples(structures: Sequence[Structure], shown: Sequence[Shown], liked: Sequence[Liked]) -> TrainingRows:
    """Write the rows, oldest first.

    Args:
        structures: all that are known; showings and likes of others are left out.
        shown: oldest first.
        liked: oldest first.
    """
    by_id = {item.structure_id: item for item in structures}
    aliases = _aliases(structures)
    shown = [one for one in shown if one.structure_id in by_id]
    claimed, extra = _claim(shown, liked, aliases)
    judged = shown[: max(claimed, default=-1) + 1]
    rows = [
        _Row(by_id[one.structure_id], one.renderer, int(place in claimed), 1.0, one.at_s)
        for place, one in enumerate(judged)
    ]
    rows += [_Row(by_id[key], by_id[key].renderer, 1, 1.0, at_s) for key, at_s in extra]
    rows += _counted_elsewhere(structures, rows)
    rows.sort(key=lambda row: (row.at_s, row.structure.structure_id, row.label))
    return TrainingRows(
        columns=columns_of([row.structure for row in rows], [row.renderer for row in rows]),
        labels=[row.label for row in rows],
        weights=[row.weight for row in rows],
        times_s=[row.at_s for row in rows],
        item=ITEM,
    )


def _claim(
    shown: Sequence[Shown], liked: Sequence[Liked], aliases: Mapping[str, str]
) -> tuple[set[int], list[tuple[str, float]]]:
    """Give the places of liked showings, and the likes of structures that no showing of ours explains."""
    by_record = {one.record_id: place for place, one in enumerate(shown) if one.record_id}
    claimed: set[int] = set()
    loose: list[tuple[str, float]] = []
    for like in liked:
        place = by_record.get(like.record_id) if like.record_id else None
        if place is not None:
            claimed.add(place)
        elif like.structure_id is not None and like.structure_id in aliases:
            loose.append((aliases[like.structure_id], like.at_s))
    free: defaultdict[str, list[int]] = defaultdict(list)
    waiting = iter([place for place in range(len(shown)) if place not in claimed])
    upcoming = next(waiting, None)
    extra: list[tuple[str, float]] = []
    for key, at_s in sorted(loose, key=lambda one: one[1]):
        while upcoming is not None and shown[upcoming].at_s <= at_s:
            free[shown[upcoming].structure_id].append(upcoming)
            upcoming = next(waiting, None)
        if free[key]:
            claimed.add(free[key].pop())
        else:
            extra.append((key, at_s))
    return claimed, extra


def _counted_elsewhere(structures: Sequence[Structure], ours: Sequence[_Row]) -> list[_Row]:
    """Give what the base counted over what we know of; both counted mostly the same showings."""
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in ours:
        counts[row.structure.structure_id][0] += row.label
        counts[row.structure.structure_id][1] += 1
    rows = []
    for item in structures:
        liked, showings = counts[item.structure_id]
        more_liked = max(int(item.statistics.get("liked", 0)) - liked, 0)
        more_shown = max(int(item.statistics.get("shown", 0)) - showings, more_liked)
        at_s = item.created_at.timestamp() if item.created_at else 0.0
        for label, count in ((1, more_liked), (0, more_shown - more_liked)):
            if count:
                rows.append(_Row(item, item.renderer, label, float(count), at_s))
    return rows


def columns_of(structures: Sequence[Structure], renderers: Sequence[str]) -> dict[str, list[Any]]:
    """Give features by name, one value a structure; an attribute it lacks is unknown."""
    columns: dict[str, list[Any]] = {
        ITEM: [item.structure_id for item in structures],
        RENDERER: list(renderers),
        SKELETON: [item.skeleton for item in structures],
    }
    names = sorted({name for item in structures for name in item.attributes})
    for name in names:
        label = f"{name} (attribute)" if name in _OWN else name
        columns[label] = [_as_feature(item.attributes.get(name)) for item in structures]
    return columns


def _as_feature(value: Any) -> Any:
    return float(value) if isinstance(value, bool) else value
