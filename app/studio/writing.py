"""Write a run's prompts and their history into the base, each exactly once.

A lot is marked before it is sent and its record ids are stored as soon as they are known. Whoever finds a mark without
ids (after a crash, or after an answer that never came) looks the records up by the prompt's own text before sending
again, so that nothing is created twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.errors import LogicalError, PersistentError, StepError, StepParked
from app.studio.ports import BaseRecord, StudioBase
from app.studio.store.prompts import PgPrompts

LOT = 10  # the most Airtable takes at once
CLOCK_SLACK = timedelta(minutes=10)  # how far Airtable's clock and ours may lie apart
_GIVE_UP_AFTER = 2  # lots in a row that fail: the base is away, and the step's next try goes on from here

Row = dict[str, Any]


@dataclass(frozen=True)
class _Target:
    """One of the two tables: how its rows are told apart and written.

    Args:
        key: what a row of ours is found by; unique enough to tell records of one run apart.
        record_key: the same of a record.
        id_column: where our row keeps the record's id.
    """

    history: bool
    fields: Callable[[Row], dict[str, Any]]
    key: Callable[[Row], str]
    record_key: Callable[[BaseRecord], str]
    find: Callable[[Sequence[str]], list[BaseRecord]]
    create: Callable[[Sequence[Mapping[str, Any]]], list[BaseRecord]]

    @property
    def id_column(self) -> str:
        return "history_record_id" if self.history else "record_id"

    @property
    def sent_column(self) -> str:
        return "history_sent_at" if self.history else "sent_at"


class PromptWriter:
    """Writes what is stored and not yet in the base."""

    def __init__(self, prompts: PgPrompts, base: StudioBase) -> None:
        self._prompts = prompts
        self._base = base

    def write_run(self, run_id: str, check_cancelled: Callable[[], None]) -> int:
        """Write the prompts of a run, then the history of those that are written.

        Returns:
            How many prompts of the run are in the base now.

        Raises:
            StepError: something is still missing; a further call goes on from there.
            StepParked: the base's rate is used up for a while.
        """
        base = self._base
        tables = [
            _Target(False, _prompt_fields, _text_key, _record_text, base.find_prompts, base.create_prompts),
        ]
        if base.has_history:
            tables.append(
                _Target(True, _history_fields, _record_id_key, _history_key, base.find_history, base.create_history)
            )
        failures = [failure for target in tables for failure in self._write_table(target, run_id, check_cancelled)]
        if failures:
            raise failures[0]
        return sum(row["record_id"] is not None for row in self._prompts.made_in(run_id))

    def _write_table(self, target: _Target, run_id: str, check_cancelled: Callable[[], None]) -> list[StepError]:
        failures: list[StepError] = []
        in_a_row = 0
        for lot in _lots(self._missing(target, run_id)):
            check_cancelled()
            try:
                self._write_lot(target, lot)
                in_a_row = 0
            except StepError as error:
                self._prompts.mark_failed([row["prompt_id"] for row in lot], error.message)
                failures.append(error)
                in_a_row += 1
            if in_a_row == _GIVE_UP_AFTER or (failures and failures[-1].code == "airtable_forbidden"):
                break
        return failures

    def _missing(self, target: _Target, run_id: str) -> list[Row]:
        rows = [row for row in self._prompts.made_in(run_id) if row[target.id_column] is None]
        return [row for row in rows if row["record_id"] is not None] if target.history else rows

    def _write_lot(self, target: _Target, lot: list[Row]) -> None:
        if any(row[target.sent_column] is not None for row in lot):
            lot = self._look_up(target, lot)
        if not lot:
            return
        try:
            self._send(target, lot)
        except PersistentError as error:
            if error.code != "airtable_refused" or len(lot) == 1:
                raise
            self._send_singly(target, lot)

    def _look_up(self, target: _Target, lot: list[Row]) -> list[Row]:
        """Find what an earlier request has created after all.

        Returns:
            The rows that still have to be sent.
        """
        begun = min(row[target.sent_column] for row in lot if row[target.sent_column] is not None)
        records = [
            record
            for record in target.find([target.key(row) for row in lot])
            if record.created_at is None or record.created_at >= begun - CLOCK_SLACK
        ]
        known = set() if target.history else self._prompts.known_records([record.record_id for record in records])
        found = _match(target, lot, [record for record in records if record.record_id not in known])
        self._prompts.set_records(found, history=target.history)
        return [row for row in lot if row["prompt_id"] not in found]

    def _send(self, target: _Target, lot: list[Row]) -> None:
        ids = [row["prompt_id"] for row in lot]
        self._prompts.mark_sent(ids, history=target.history)
        try:
            records = target.create([target.fields(row) for row in lot])
        except StepParked:
            self._prompts.clear_sent(ids, history=target.history)
            raise
        except StepError as error:
            if error.details.get("executed") is False:
                self._prompts.clear_sent(ids, history=target.history)
            raise
        found = _match(target, lot, records)
        self._prompts.set_records(found, history=target.history)
        if len(found) < len(lot):
            raise LogicalError(
                f"Airtable confirmed {len(found)} of {len(lot)} records.", code="airtable_unreadable", executed=None
            )

    def _send_singly(self, target: _Target, lot: list[Row]) -> None:
        """Send a refused lot one by one, so that one bad record costs only itself."""
        refusals: list[PersistentError] = []
        for row in lot:
            try:
                self._send(target, [row])
            except PersistentError as error:
                refusals.append(error)
                if len(refusals) == _GIVE_UP_AFTER and row is lot[_GIVE_UP_AFTER - 1]:
                    break  # it is not the record but the table
        if refusals:
            raise refusals[0]


def _lots(rows: list[Row]) -> Iterator[list[Row]]:
    for at in range(0, len(rows), LOT):
        yield rows[at : at + LOT]


def _match(target: _Target, lot: list[Row], records: Sequence[BaseRecord]) -> dict[int, str]:
    """Pair rows and records by what they say, never by their order."""
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for record in records:
        waiting[target.record_key(record)].append(record.record_id)
    return {row["prompt_id"]: ids.pop(0) for row in lot if (ids := waiting.get(target.key(row)))}


def _prompt_fields(row: Row) -> dict[str, Any]:
    return {"New Prompt": row["text"], **_shared_fields(row)}


def _history_fields(row: Row) -> dict[str, Any]:
    return {"Prompt ID": row["record_id"], "Prompt": row["text"], **_shared_fields(row)}


def _shared_fields(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {"Renderer": row["renderer"]} if row["renderer"] else {}
    links = (
        ("Designer", row["designer_record_id"]),
        ("Garment", row["garment_record_id"]),
        ("Prompt Structure", row["structure_record_id"]),
    )
    return fields | {name: [record_id] for name, record_id in links if record_id}


def _text_key(row: Row) -> str:
    return str(row["text"]).strip()


def _record_text(record: BaseRecord) -> str:
    return str(record.fields.get("New Prompt", "")).strip()


def _record_id_key(row: Row) -> str:
    return str(row["record_id"])


def _history_key(record: BaseRecord) -> str:
    value = record.fields.get("Prompt ID", "")
    return str(value[0] if isinstance(value, list) and value else value)
