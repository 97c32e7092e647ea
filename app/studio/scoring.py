"""Score every structure with what serves: the learned scorer, else smoothed like rates."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from app.learning.preference import PREFERENCE
from app.learning.service import ScorerRegistry
from app.studio.examples import ITEM, SKELETON, columns_of
from app.studio.model import RATES, Structure
from app.studio.store import StudioStore

TOP_PREFERENCES = 20
RATES_NOTE = "scores: like rates, smoothed; no learned scorer is used"


@dataclass(frozen=True)
class Scored:
    """What was scored: by which version, how many, and what is odd about it."""

    source: str
    count: int
    degraded: tuple[str, ...] = ()


class StructureScoring:
    """Scores structures where no Optimizer is configured.

    Args:
        store: the database.
        registry: the versions.
        default_renderer: of structures that name none.
    """

    def __init__(self, store: StudioStore, registry: ScorerRegistry, default_renderer: str) -> None:
        self._store = store
        self._registry = registry
        self._renderer = default_renderer

    def score_all(self, run_id: str | None) -> Scored:
        """Score every structure and let the scores serve."""
        structures = self._store.catalogue.all_structures()
        serving = self._registry.serving(PREFERENCE)
        if serving.scorer is None or serving.version is None:
            scores, doubts = self._store.scores.rates(structures)
            self._store.scores.keep(scores, RATES, run_id, doubts)
            return Scored(RATES, len(scores), (RATES_NOTE, *(f"scores: {one}" for one in serving.problems)))
        found = serving.scorer.score(columns_of(structures, [self._renderer_of(item) for item in structures]))
        keys = [item.structure_id for item in structures]
        scores = {key: round(value, 6) for key, value in zip(keys, found.scores, strict=True)}
        doubts = dict(zip(keys, found.deviations, strict=True))
        self._store.scores.keep(scores, serving.version.name, run_id, doubts)
        return Scored(serving.version.name, len(scores), tuple(f"scores: {one}" for one in serving.problems))

    def explain(self, item: Structure, model_version: str | None) -> list[dict[str, Any]]:
        """Say what moved a structure's score; empty when another version than the serving one made it."""
        serving = self._registry.serving(PREFERENCE)
        if serving.scorer is None or serving.version is None or serving.version.name != model_version:
            return []
        columns = columns_of([item], [self._renderer_of(item)])
        parts = serving.scorer.explain({name: values[0] for name, values in columns.items()})
        return [{"feature": name, "contribution": round(part, 6)} for name, part in parts]

    def _renderer_of(self, item: Structure) -> str:
        return item.renderer or self._renderer


def preference_vector(structures: list[Structure], scores: dict[str, float]) -> dict[str, float]:
    """Give the attributes whose structures score best: attribute to mean score, at most 20, best first."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    columns = columns_of(structures, [item.renderer for item in structures])
    for name, values in columns.items():
        if name in {ITEM, SKELETON}:
            continue
        for item, value in zip(structures, values, strict=True):
            if item.structure_id in scores and value not in {None, ""}:
                label = name if value == 1.0 else f"{name}={value}"
                found[label].append(scores[item.structure_id])
    means = {label: round(sum(values) / len(values), 6) for label, values in found.items()}
    best = sorted(means.items(), key=lambda one: (-one[1], one[0]))
    return dict(best[:TOP_PREFERENCES])
