"""P(like): trees for what the crowd has in common, tastes for what each person adds, one posterior over both.

Symbols: n rows · c design columns · Φ design: 1, the trees' margin, attributes, words, items.

The trees' margin enters the posterior as one more attribute (its prior weight is 1), learned on margins of trees that
had not seen the row. So the posterior corrects trees that are too sure of themselves, and a person may trust them more
or less than the crowd does. With too few rows there are no trees, and the shrunken rates of attributes and items are
the scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from ml import artifact, booster
from ml.booster import Forest
from ml.card import Card
from ml.choosing import DRAWS, Pick, pick
from ml.encoding import Encoder, codes_of
from ml.errors import ArtifactError, RowsError
from ml.frame import Array, Floats, Frame, Rows, as_frame, as_text, is_numeric
from ml.tastes import Block, Evidence, Tastes

MOST_ITEMS = 500  # structures with a weight of their own; others live by their attributes
MOST_PERSONAL_LEVELS = 32  # a category with more levels tells persons apart poorly and costs d² a person
MOST_PERSONAL = 64  # columns on which persons may differ
TREE_CENTRE, TREE_VARIANCE = 1.0, 0.1  # the trees are believed, give or take a third
ITEM_VARIANCE = 0.2  # first guess: items of equal attributes differ by a factor of 1.5 in odds
INTERCEPT_VARIANCE = 4.0  # any base rate from 2 % to 98 %


@dataclass(frozen=True)
class Layout:
    """Which design column is what.

    Args:
        encoder: of the attributes.
        order: shape (linear columns,), places of the encoder's columns in design order: personal ones first.
        owners: attribute behind each of those, in design order.
        personal: how many of them persons may differ on.
        trees: whether the margin has a column.
        items: known items, most frequent first; empty without an item column.
    """

    encoder: Encoder
    order: tuple[int, ...]
    owners: tuple[str, ...]
    personal: int
    trees: bool
    items: tuple[str, ...]

    @property
    def lead(self) -> int:
        """Count the columns before the attributes: 1, and the margin."""
        return 1 + self.trees

    def design(self, frame: Frame, margin: Floats | None, item: Array | None) -> Floats:
        """Build Φ, shape (n, c)."""
        out = np.zeros((len(frame), self.lead + len(self.order) + len(self.items)))
        out[:, 0] = 1.0
        if margin is not None:
            out[:, 1] = margin
        linear = self.encoder.for_linear(frame)
        own = self.lead + len(self.order)
        out[:, self.lead : own] = linear if self.order == tuple(range(len(self.order))) else linear[:, list(self.order)]
        if self.items and item is not None:
            codes = codes_of(item, self.items)
            known = np.flatnonzero(codes >= 0)
            out[known, own + codes[known]] = 1.0
        return out

    def blocks(self, *, persons: bool) -> list[Block]:
        """Say which columns share a prior."""
        between = 1.0 if persons else 0.0
        out = [Block(0, 1, INTERCEPT_VARIANCE, 0.7 * between, learned=False)]
        if self.trees:
            out.append(Block(1, 2, TREE_VARIANCE, 0.05 * between, TREE_CENTRE, learned=False))
        crowd = 0.05 if self.trees else 0.15
        start = self.lead
        for place, owner in enumerate(self.owners):
            if place == 0 or owner != self.owners[place - 1]:
                stop = place + self.owners[place:].count(owner)
                own = 0.1 * between if place < self.personal else 0.0
                out.append(Block(start + place, start + stop, crowd, own))
        if self.items:
            first = start + len(self.owners)
            out.append(Block(first, first + len(self.items), ITEM_VARIANCE, 0.0))
        return out

    @property
    def column_owners(self) -> list[str]:
        """Name what each design column stands for."""
        return ["(base)", *(["(trees)"] if self.trees else []), *self.owners, *(["(item)"] * len(self.items))]


def lay_out(encoder: Encoder, *, trees: bool, items: tuple[str, ...]) -> Layout:
    """Order the columns: what persons may differ on first."""
    personal: list[int] = []
    common: list[int] = []
    at = 0
    for attribute in encoder.attributes:
        width = len(attribute.linear_names)
        fits = attribute.kind != "text" and width <= MOST_PERSONAL_LEVELS and len(personal) + width <= MOST_PERSONAL
        (personal if fits else common).extend(range(at, at + width))
        at += width
    order = (*personal, *common)
    owners = encoder.linear_owners
    return Layout(encoder, order, tuple(owners[j] for j in order), len(personal), trees, items)


@dataclass(frozen=True)
class Explanation:
    """Why a row has its score.

    Args:
        base: log odds before anything is known of the row.
        parts: log odds each attribute adds, largest effect first; `(person)` is liking in general, `(item)` the item.
        probability: sigmoid(base + all parts).
    """

    base: float
    parts: tuple[tuple[str, float], ...]
    probability: float


@dataclass(frozen=True)
class Preference:
    """A fitted scorer of likes.

    Args:
        layout: of the design.
        trees: the crowd's trees; None while there are too few rows.
        tastes: the posterior.
        slope: of the calibration, positive, so it changes no order.
        shift: of the calibration.
        item: name of the column that identifies an item; None without one.
        item_variance: of an item nobody rated yet.
        card: facts.
    """

    layout: Layout
    trees: Forest | None
    tastes: Tastes
    slope: float
    shift: float
    item: str | None
    item_variance: float
    card: Card

    def score(self, rows: Rows, person: str | Sequence[str] | Array | None = None, *, threads: int = 1) -> Floats:
        """Give P(like), shape (n,).

        Args:
            rows: of any form `as_frame` reads; columns that are absent count as unknown, others are ignored.
            person: one name for all rows, or one a row; None, or a name never seen, means the crowd.
            threads: for the trees.
        """
        frame = as_frame(rows)
        persons = _names(person, len(frame))
        return np.asarray(
            expit(self.slope * self.tastes.utility(self.design(frame, threads), persons) + self.shift), dtype=np.float64
        )

    def explain(self, row: dict[str, Any], person: str | None = None) -> Explanation:
        """Split one row's log odds over its attributes: the trees' own contributions plus the weights'."""
        frame = as_frame([row])
        design = self.design(frame)[0]
        weights = self.tastes.weights(person)
        base = float(self.tastes.stranger[0])
        parts: dict[str, float] = {"(person)": float(weights[0]) - base}
        for owner, value in zip(self.layout.column_owners[1:], (weights * design)[1:], strict=True):
            if owner != "(trees)":
                parts[owner] = parts.get(owner, 0.0) + float(value)
        if self.trees is not None:
            shares = weights[1] * booster.contributions(self.trees, self.layout.encoder.for_trees(frame))[0]
            base += float(shares[-1])
            for owner, value in zip(self.layout.encoder.tree_owners, shares[:-1], strict=True):
                parts[owner] = parts.get(owner, 0.0) + float(value)
        scaled = sorted(((name, self.slope * value) for name, value in parts.items()), key=lambda p: (-abs(p[1]), p[0]))
        base = self.slope * base + self.shift
        total = base + sum(value for _, value in scaled)
        return Explanation(base, tuple(part for part in scaled if part[1] != 0.0), float(expit(total)))

    def choose(
        self,
        rows: Rows,
        k: int,
        *,
        exploration_rate: float = 0.2,
        rng: np.random.Generator,
        person: str | None = None,
    ) -> list[Pick]:
        """Choose k of the rows to show, in order, each with its propensity."""
        frame = as_frame(rows)
        design = self.design(frame)
        scores = np.asarray(expit(self.slope * self.tastes.utility(design, [person]) + self.shift), dtype=np.float64)
        draws = self._draw(frame, design, person, DRAWS, rng)
        return pick(scores, draws, k, exploration_rate=exploration_rate, rng=rng)

    def draw(self, rows: Rows, draws: int, *, rng: np.random.Generator, person: str | None = None) -> Floats:
        """Draw P(like) from the posterior: how far the draws of a row lie apart is how unsure the scorer is of it.

        Args:
            rows: as for `score`.
            draws: how many.
            rng: whose state decides.
            person: whose liking; None, or a name never seen, means the crowd.

        Returns:
            shape (draws, n); rows of one draw belong together, as they share what is uncertain.
        """
        frame = as_frame(rows)
        utilities = self._draw(frame, self.design(frame), person, draws, rng)
        return np.asarray(expit(self.slope * utilities + self.shift), dtype=np.float64)

    def update(self, rows: Rows, label: Array | Sequence[float], person: str, question: Any = None) -> Preference:
        """Learn one person's new rows at once; trees and crowd wait for the next fit.

        Args:
            rows: the person's new rows only: what was learned before is not repeated.
            label: shape (n,), 0/1.
            person: whose.
            question: shape (n,), rows shown together; None: each row alone.
        """
        frame = as_frame(rows)
        asked = None if question is None else np.unique(as_text(question), return_inverse=True)[1].astype(np.int64)
        evidence = Evidence(
            self.design(frame),
            np.asarray(label, dtype=np.float64),
            np.ones(len(frame)),
            np.zeros(len(frame), np.int64),
            asked,
        )
        return replace(self, tastes=self.tastes.learn(evidence, person)) if self.tastes.personal else self

    def design(self, frame: Frame, threads: int = 1) -> Floats:
        """Build Φ of rows, shape (n, c)."""
        margin = None
        if self.trees is not None:
            margin = booster.margins(self.trees, self.layout.encoder.for_trees(frame), threads=threads)
        return self.layout.design(frame, margin, self._items(frame))

    def _items(self, frame: Frame) -> Array | None:
        column = frame.columns.get(self.item) if self.item else None
        return as_text(column) if column is not None and is_numeric(column) else column

    def _draw(self, frame: Frame, design: Floats, person: str | None, draws: int, rng: np.random.Generator) -> Floats:
        """Draw utilities, shape (draws, n); an item without a weight of its own differs by what items differ."""
        out = self.tastes.draw(design, person, draws, rng)
        items = self._items(frame)
        if items is None or not self.item_variance:
            return out
        unrated = np.flatnonzero(codes_of(items, self.layout.items) < 0)
        _, own = np.unique(items[unrated].astype(str), return_inverse=True)  # rows of one item move together
        effects = rng.standard_normal((draws, int(own.max(initial=-1)) + 1)) * np.sqrt(self.item_variance)
        out[:, unrated] += effects[:, own]
        return out

    def save(self, path: str | Path) -> None:
        """Write the scorer and its card as text."""
        artifact.write(path, {"kind": "preference", "card": self.card.to_json(), "body": self._body()})

    def _body(self) -> dict[str, Any]:
        tastes = self.tastes
        return {
            "attributes": self.layout.encoder.to_json(),
            "items": list(self.layout.items),
            "item": self.item,
            "item_variance": self.item_variance,
            "slope": self.slope,
            "shift": self.shift,
            "trees": None if self.trees is None else [booster.to_text(trees) for trees in self.trees],
            "persons": list(tastes.persons),
            **{name: artifact.pack(getattr(tastes, name)) for name in _ARRAYS},
        }

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Preference:
        """Rebuild a scorer from what an artifact holds."""
        try:
            body = content["body"]
            arrays = {name: artifact.unpack(body[name]) for name in _ARRAYS}
            trees = None if body["trees"] is None else tuple(booster.from_text(text) for text in body["trees"])
            layout = lay_out(Encoder.from_json(body["attributes"]), trees=trees is not None, items=tuple(body["items"]))
            tastes = Tastes(persons={name: j for j, name in enumerate(body["persons"])}, **arrays)
            scorer = cls(
                layout,
                trees,
                tastes,
                float(body["slope"]),
                float(body["shift"]),
                body["item"],
                float(body["item_variance"]),
                Card.from_json(content["card"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the scorer's content is not what its kind needs: {error!r}") from error
        if len(tastes.crowd) != len(layout.column_owners):
            raise ArtifactError(f"{len(tastes.crowd)} weights for {len(layout.column_owners)} columns")
        return scorer


_ARRAYS = ("crowd", "crowd_covariance", "stranger", "spread", "means", "covariances")


def _names(person: str | Sequence[str] | Array | None, rows: int) -> Sequence[str | None]:
    if person is None or isinstance(person, str):
        return [person]
    names: list[str | None] = list(as_text(person))
    if len(names) != rows:
        raise RowsError(f"{len(names)} persons for {rows} rows: give one name, or one a row")
    return names
