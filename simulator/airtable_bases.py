"""Airtable's bases, tables, records and limits, without any HTTP."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

MOST_RECORDS_A_REQUEST = 10
COMPUTED = {
    "formula",
    "rollup",
    "count",
    "lookup",
    "multipleLookupValues",
    "createdTime",
    "lastModifiedTime",
    "autoNumber",
    "createdBy",
    "button",
}
NUMERIC = {"number", "currency", "percent", "rating", "duration"}
TEXTUAL = {"singleLineText", "multilineText", "richText", "email", "url", "phoneNumber", "date", "dateTime"}
RECORD_ID = re.compile(r"rec[A-Za-z0-9]{14}")


class AirtableError(Exception):
    """What Airtable refuses, in its own words.

    Args:
        status: HTTP status.
        kind: `error.type`; with no message it is the whole `error`.
        message: `error.message`.
    """

    def __init__(self, status: int, kind: str, message: str = "") -> None:
        super().__init__(message or kind)
        self.status = status
        self.body: dict[str, Any] = {"error": {"type": kind, "message": message} if message else kind}


@dataclass
class Limits:
    """What can be changed by a test; times in seconds."""

    requests_a_second: int = 5
    penalty_s: float = 30.0
    page_size: int = 100


@dataclass
class Field:
    """One column."""

    id: str
    name: str
    type: str
    choices: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Describe it as the schema endpoint does."""
        shown: dict[str, Any] = {"id": self.id, "name": self.name, "type": self.type}
        if self.choices:
            shown["options"] = {
                "choices": [{"id": f"sel{place:014d}", "name": name} for place, name in enumerate(self.choices)]
            }
        return shown

    def accept(self, value: Any, *, typecast: bool) -> Any:
        """Check a value for this column.

        Returns:
            The value as it is stored; None for an empty one.

        Raises:
            AirtableError: the column cannot hold it.
        """
        if self.type in COMPUTED:
            raise AirtableError(
                422,
                "INVALID_VALUE_FOR_COLUMN",
                f'Field "{self.name}" cannot accept a value because the field is computed',
            )
        if value in (None, "", []) or (self.type == "checkbox" and value is False):
            return None
        if self.type in {"singleSelect", "multipleSelects"}:
            return self._accept_choice(value, typecast=typecast)
        if typecast:
            value = self._cast(value)
        if not self._fits(value):
            raise AirtableError(
                422, "INVALID_VALUE_FOR_COLUMN", f'Field "{self.name}" cannot accept the provided value'
            )
        return value

    def _accept_choice(self, value: Any, *, typecast: bool) -> Any:
        many = self.type == "multipleSelects"
        names = value if many and isinstance(value, list) else [value]
        for name in names:
            if not isinstance(name, str) or (many and not isinstance(value, list)):
                raise AirtableError(
                    422, "INVALID_VALUE_FOR_COLUMN", f'Field "{self.name}" cannot accept the provided value'
                )
            if name not in self.choices:
                if not typecast:
                    raise AirtableError(
                        422,
                        "INVALID_MULTIPLE_CHOICE_OPTIONS",
                        f'Insufficient permissions to create new select option ""{name}""',
                    )
                self.choices.append(name)
        return value

    def _cast(self, value: Any) -> Any:
        if self.type in NUMERIC and isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                return value
        if self.type in TEXTUAL and isinstance(value, int | float):
            return str(value)
        return value

    def _fits(self, value: Any) -> bool:
        if self.type in NUMERIC:
            return isinstance(value, int | float) and not isinstance(value, bool)
        if self.type == "checkbox":
            return isinstance(value, bool)
        if self.type == "multipleRecordLinks":
            return isinstance(value, list) and all(
                isinstance(item, str) and RECORD_ID.fullmatch(item) for item in value
            )
        return isinstance(value, str) if self.type in TEXTUAL else True


@dataclass
class Table:
    """One table; records in the order they were made."""

    id: str
    name: str
    fields: dict[str, Field]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: dict[str, str] = field(default_factory=dict)

    def field(self, name: str) -> Field:
        """Find a column by name or id."""
        found = self.fields.get(name) or next((item for item in self.fields.values() if item.id == name), None)
        if found is None:
            raise AirtableError(422, "UNKNOWN_FIELD_NAME", f'Unknown field name: "{name}"')
        return found

    def check(self, values: Any, *, typecast: bool) -> dict[str, Any]:
        """Check a record's fields; the answer holds None for those to be emptied."""
        if not isinstance(values, dict):
            raise AirtableError(
                422, "INVALID_REQUEST_MISSING_FIELDS", 'Could not find field "fields" in the request body'
            )
        columns = {name: self.field(name) for name in values}
        return {columns[name].name: columns[name].accept(value, typecast=typecast) for name, value in values.items()}

    def write(self, record_id: str, values: dict[str, Any], *, replace: bool = False) -> None:
        """Store checked fields of a record."""
        kept = {} if replace else self.records[record_id]
        merged = {**kept, **values}
        self.records[record_id] = {name: value for name, value in merged.items() if value is not None}

    def show(self, record_id: str, *, only: list[str] | None = None, by_id: bool = False) -> dict[str, Any]:
        """Give a record as Airtable does: empty fields are absent."""
        wanted = None if only is None else {self.field(name).name for name in only}
        fields = {
            (self.fields[name].id if by_id else name): value
            for name, value in self.records[record_id].items()
            if wanted is None or name in wanted
        }
        return {"id": record_id, "createdTime": self.created[record_id], "fields": fields}


@dataclass
class _Meter:
    """Requests of one base in the last second, and the end of its penalty; monotonic seconds."""

    recent: deque[float] = field(default_factory=deque)
    shut_until: float = 0.0


class AirtableBases:
    """All bases of one simulator."""

    def __init__(self) -> None:
        self.bases: dict[str, dict[str, Table]] = {}
        self.limits = Limits()
        self._meters: dict[str, _Meter] = {}
        self._numbers = itertools.count(1)

    def seed(self, base: str, tables: list[dict[str, Any]]) -> dict[str, Any]:
        """Make or replace a base.

        Args:
            base: its id, such as `appStudio`.
            tables: `{name, id?, fields: [{name, type?, choices?, id?}], records: [{field: value} or {id, fields}]}`;
                a field without a type is a single line of text.

        Returns:
            Table name to the ids of its table and records.
        """
        self.bases[base] = {}
        made: dict[str, Any] = {}
        for raw in tables:
            table = self._make_table(raw)
            self.bases[base][table.id] = table
            for record in raw.get("records", []):
                values = record["fields"] if set(record) <= {"id", "fields"} and "fields" in record else record
                self.create(table, values, typecast=True, record_id=record.get("id") if values is not record else None)
            made[table.name] = {"id": table.id, "records": list(table.records)}
        return made

    def _make_table(self, raw: dict[str, Any]) -> Table:
        columns = [
            Field(
                column.get("id") or self.make_id("fld"),
                column["name"],
                column.get("type", "singleLineText"),
                list(column.get("choices", [])),
            )
            for column in raw["fields"]
        ]
        return Table(raw.get("id") or self.make_id("tbl"), raw["name"], {column.name: column for column in columns})

    def make_id(self, prefix: str) -> str:
        """Make an id of Airtable's form, in counting order."""
        return f"{prefix}{next(self._numbers):014d}"

    def table(self, base: str, name: str) -> Table:
        """Find a table by id or name."""
        tables = self.bases.get(base, {})
        found = tables.get(name) or next((table for table in tables.values() if table.name == name), None)
        if found is None:
            raise AirtableError(
                403,
                "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND",
                "Invalid permissions, or the requested model was not found.",
            )
        return found

    def create(self, table: Table, values: Any, *, typecast: bool, record_id: str | None = None) -> str:
        """Make one record.

        Returns:
            Its id.
        """
        checked = table.check(values, typecast=typecast)
        new_id = record_id or self.make_id("rec")
        table.records[new_id] = {}
        table.created[new_id] = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        table.write(new_id, checked)
        return new_id

    def meter(self, base: str) -> bool:
        """Count a request against the base's rate.

        Returns:
            False when it is refused: over the rate, or within the penalty that follows.
        """
        meter = self._meters.setdefault(base, _Meter())
        now = time.monotonic()
        if now < meter.shut_until:
            return False
        while meter.recent and meter.recent[0] <= now - 1:
            meter.recent.popleft()
        if len(meter.recent) >= self.limits.requests_a_second:
            meter.shut_until = now + self.limits.penalty_s
            return False
        meter.recent.append(now)
        return True
