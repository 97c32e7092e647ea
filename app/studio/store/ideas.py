"""Ideas in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.studio.model import IDEA_WINDOW, IdeaDraft, Listing, Structure
from app.studio.plain_strategist import idea_fingerprint
from app.studio.store.catalogue import PgCatalogue, read_listing
from app.studio.store.claims import claim_fingerprints
from app.studio.tables import NOW, fingerprints, ideas

_SHOWN = (
    ideas.c.idea_id,
    ideas.c.skeleton,
    ideas.c.renderer,
    ideas.c.attributes,
    ideas.c.status,
    ideas.c.parent,
    ideas.c.source,
    ideas.c.structure_id,
    ideas.c.created_at,
    ideas.c.decided_at,
)


class PgIdeas:
    """Keep proposed structures and what people decided about them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._catalogue = PgCatalogue(engine)

    def made_by(self, run_id: str, step_key: str) -> list[dict[str, Any]]:
        """Give the ideas a step has stored, in their order."""
        query = sa.select(*_SHOWN).where(ideas.c.run_id == run_id, ideas.c.step_key == step_key).order_by(ideas.c.place)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def recent_fingerprints(self) -> set[str]:
        """Give what ideas were claimed within the window."""
        query = sa.select(fingerprints.c.fingerprint).where(
            fingerprints.c.kind == "idea", fingerprints.c.used_at > NOW - IDEA_WINDOW
        )
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def keep(self, run_id: str, step_key: str, drafts: Sequence[IdeaDraft], *, only_new: bool) -> int:
        """Store a step's ideas after those it has already.

        Args:
            run_id: the run.
            step_key: the step that made them.
            drafts: in their order.
            only_new: leave out those that anybody claimed within the window; else all are kept.

        Returns:
            How many were stored.
        """
        keys = [idea_fingerprint(draft.skeleton, draft.attributes) for draft in drafts]
        mine = (ideas.c.run_id == run_id) & (ideas.c.step_key == step_key)
        with self._engine.begin() as connection:
            claimed = claim_fingerprints(connection, "idea", keys, IDEA_WINDOW)
            begin = connection.execute(sa.select(sa.func.count()).select_from(ideas).where(mine)).scalar_one()
            rows = [
                {**_row(draft, key), "run_id": run_id, "step_key": step_key}
                for draft, key in zip(drafts, keys, strict=True)
                if key in claimed or not only_new
            ]
            for place, row in enumerate(rows, start=begin):
                connection.execute(insert(ideas).values(**row, place=place).on_conflict_do_nothing())
        return len(rows)

    def list_ideas(self, status: str | None, page: int, page_size: int) -> Listing:
        """Give a page of ideas, newest first."""
        query = sa.select(*_SHOWN).order_by(ideas.c.idea_id.desc())
        return read_listing(
            self._engine, query if status is None else query.where(ideas.c.status == status), page, page_size
        )

    def find(self, idea_id: int) -> dict[str, Any] | None:
        """Find an idea."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(*_SHOWN).where(ideas.c.idea_id == idea_id)).mappings().one_or_none()
        return None if row is None else dict(row)

    def decide(self, idea_id: int, status: str) -> dict[str, Any] | None:
        """Approve or decline a proposed idea; approving makes its structure in the same transaction.

        Returns:
            The idea as it is now; None when it is not (or no longer) proposed, or unknown.
        """
        with self._engine.begin() as connection:
            undecided = (ideas.c.idea_id == idea_id) & (ideas.c.status == "proposed")
            change = ideas.update().where(undecided).values(status=status, decided_at=NOW)
            row = connection.execute(change.returning(*_SHOWN)).mappings().one_or_none()
            if row is None:
                return None
            if status != "approved":
                return dict(row)
            structure = _structure_of(row)
            self._catalogue.put_structures([structure], connection)
            made = ideas.update().where(ideas.c.idea_id == idea_id).values(structure_id=structure.structure_id)
            connection.execute(made)
            return {**row, "structure_id": structure.structure_id}


def _structure_of(row: Any) -> Structure:
    """Give the structure an idea becomes. Its id is a text, so that it never meets a number of Airtable's."""
    return Structure(
        f"idea-{row['idea_id']}",
        row["skeleton"],
        renderer=row["renderer"],
        attributes=row["attributes"],
        source="idea",
        parent=row["parent"],
    )


def _row(draft: IdeaDraft, key: str) -> dict[str, Any]:
    return {
        "external_id": draft.external_id,
        "skeleton": draft.skeleton,
        "renderer": draft.renderer,
        "attributes": draft.attributes,
        "status": draft.status,
        "parent": draft.parent,
        "source": draft.source,
        "fingerprint": key,
    }
