"""Prompts in PostgreSQL, and how far each has got into the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.studio.model import REPEAT_WINDOW, Listing, PromptDraft, fingerprint
from app.studio.store.catalogue import read_listing
from app.studio.store.claims import claim_fingerprints
from app.studio.tables import MESSAGE_CHARS, NOW, prompts

_SHOWN = (
    prompts.c.prompt_id,
    prompts.c.run_id,
    prompts.c.text,
    prompts.c.renderer,
    prompts.c.structure_id,
    prompts.c.designer,
    prompts.c.garment,
    prompts.c.explored,
    prompts.c.propensity,
    prompts.c.source,
    prompts.c.record_id,
    prompts.c.created_at,
)


class PgPrompts:
    """Keep prompts."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def made_by(self, run_id: str, step_key: str) -> list[dict[str, Any]]:
        """Give the prompts a step has stored, in order of their places."""
        mine = (prompts.c.run_id == run_id) & (prompts.c.step_key == step_key)
        return self._rows(sa.select(prompts).where(mine).order_by(prompts.c.place))

    def made_in(self, run_id: str) -> list[dict[str, Any]]:
        """Give the prompts of a run in order of their places."""
        return self._rows(
            sa.select(prompts).where(prompts.c.run_id == run_id).order_by(prompts.c.place, prompts.c.prompt_id)
        )

    def list_prompts(self, page: int, page_size: int) -> Listing:
        """Give a page of prompts, newest first."""
        return read_listing(self._engine, sa.select(*_SHOWN).order_by(prompts.c.prompt_id.desc()), page, page_size)

    def keep(self, run_id: str, step_key: str, drafts: Sequence[PromptDraft], *, only_new: bool) -> set[int]:
        """Store prompts; within a run no text comes twice.

        Args:
            run_id: the run.
            step_key: the step that made them.
            drafts: in any order; of two with the same words the first is kept.
            only_new: leave out texts that any run used within 30 days, also one storing them at this moment.

        Returns:
            The places that were stored.
        """
        keyed = {fingerprint(draft.text): draft for draft in reversed(drafts)}
        with self._engine.begin() as connection:
            claimed = claim_fingerprints(connection, "prompt", keyed, REPEAT_WINDOW)
            rows = [
                _row(draft, key) | {"run_id": run_id, "step_key": step_key}
                for key, draft in sorted(keyed.items())
                if key in claimed or not only_new
            ]
            if not rows:
                return set()
            statement = insert(prompts).values(rows).on_conflict_do_nothing(index_elements=["run_id", "fingerprint"])
            return set(connection.execute(statement.returning(prompts.c.place)).scalars())

    def mark_sent(self, prompt_ids: Sequence[int], *, history: bool = False) -> None:
        """Note that a request with these prompts is about to be sent; the first such moment stays."""
        column = prompts.c.history_sent_at if history else prompts.c.sent_at
        self._change(prompt_ids, {column.name: sa.func.coalesce(column, NOW)})

    def clear_sent(self, prompt_ids: Sequence[int], *, history: bool = False) -> None:
        """Note that the request was refused as a whole, so that nothing of it exists."""
        self._change(prompt_ids, {"history_sent_at" if history else "sent_at": None})

    def mark_failed(self, prompt_ids: Sequence[int], message: str) -> None:
        """Note why prompts are not in the base; those that got there stay as they are."""
        missing = prompts.c.prompt_id.in_(prompt_ids) & prompts.c.record_id.is_(None)
        with self._engine.begin() as connection:
            connection.execute(prompts.update().where(missing).values(write_error=message[:MESSAGE_CHARS]))

    def set_records(self, records: Mapping[int, str], *, history: bool = False) -> None:
        """Store the record ids of prompts, or of their history."""
        column = "history_record_id" if history else "record_id"
        with self._engine.begin() as connection:
            for prompt_id, record_id in sorted(records.items()):
                changes = {column: record_id} if history else {column: record_id, "write_error": None}
                connection.execute(prompts.update().where(prompts.c.prompt_id == prompt_id).values(**changes))

    def known_records(self, record_ids: Sequence[str]) -> set[str]:
        """Give those of these record ids that some prompt already has."""
        with self._engine.connect() as connection:
            return set(
                connection.execute(sa.select(prompts.c.record_id).where(prompts.c.record_id.in_(record_ids))).scalars()
            )

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _change(self, prompt_ids: Sequence[int], changes: Mapping[str, Any]) -> None:
        with self._engine.begin() as connection:
            connection.execute(prompts.update().where(prompts.c.prompt_id.in_(prompt_ids)).values(**changes))


def _row(draft: PromptDraft, key: str) -> dict[str, Any]:
    return {
        "place": draft.place,
        "text": draft.text,
        "renderer": draft.renderer,
        "structure_id": draft.structure_id,
        "structure_record_id": draft.structure_record_id,
        "designer": draft.designer.name if draft.designer else None,
        "designer_record_id": draft.designer.record_id if draft.designer else None,
        "garment": draft.garment.name if draft.garment else None,
        "garment_record_id": draft.garment.record_id if draft.garment else None,
        "explored": draft.explored,
        "propensity": draft.propensity,
        "source": draft.source,
        "fingerprint": key,
    }
