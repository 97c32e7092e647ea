"""The studio in PostgreSQL: its only SQL, a module a table or two."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from app.studio.store.batches import PgBatches
from app.studio.store.catalogue import PgCatalogue
from app.studio.store.cycles import PgCycles
from app.studio.store.examples import PgExamples
from app.studio.store.ideas import PgIdeas
from app.studio.store.marks import PgMarks
from app.studio.store.prompts import PgPrompts
from app.studio.store.scores import PgScores
from app.studio.store.state import PgState


@dataclass(frozen=True)
class StudioStore:
    """All of the studio's stores over one pool of connections."""

    engine: sa.Engine
    batches: PgBatches
    catalogue: PgCatalogue
    cycles: PgCycles
    examples: PgExamples
    ideas: PgIdeas
    marks: PgMarks
    prompts: PgPrompts
    scores: PgScores
    state: PgState

    @classmethod
    def over(cls, engine: sa.Engine) -> StudioStore:
        """Build every store over one engine; nothing is connected yet."""
        return cls(
            engine,
            batches=PgBatches(engine),
            catalogue=PgCatalogue(engine),
            cycles=PgCycles(engine),
            examples=PgExamples(engine),
            ideas=PgIdeas(engine),
            marks=PgMarks(engine),
            prompts=PgPrompts(engine),
            scores=PgScores(engine),
            state=PgState(engine),
        )
