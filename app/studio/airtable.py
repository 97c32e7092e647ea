"""The users' Airtable base through pyairtable: structures, settings, prompts, history, designers, garments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

import requests
from pyairtable import Api
from pyairtable.formulas import EQ, FIND, OR, Field, Formula, to_formula
from requests.adapters import HTTPAdapter

from app.errors import LogicalError, PersistentError, StepError, TransientError
from app.settings import AirtableSettings
from app.studio.model import (
    MAX_ATTRIBUTE_CHARS,
    MAX_ATTRIBUTES,
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_RENDERER_CHARS,
    MAX_SKELETON_CHARS,
    Named,
    SettingsRecord,
    Structure,
    clean,
    read_phrases,
    read_structure_id,
)
from app.studio.plain_strategist import PHRASE_FLAG
from app.studio.ports import BaseRecord
from app.studio.rate import AirtableRate
from app.studio.remote import read_retry_after

TIMEOUT_S = (5, 30)  # to connect, to read
READ_TRIES = 3
BATCH_ENABLED = "batchEnabled"
PROMPT_FIELD = "New Prompt"
HISTORY_KEY = "Prompt ID"
SCORE_FIELD = "optimizer_score"
ENABLED_UNKNOWN = (
    "settings: whether batchEnabled exists could not be read from the base's schema; "
    "without a tick it was taken as enabled"
)

# Columns that say what came of a structure. They are no attributes: a scorer that reads them knows the answer already.
_OUTCOMES = frozenset(
    {
        "outlier_count",
        "usage_count",
        "age_weeks",
        "z_score",
        "ai score",
        "optimizer_score",
        "trend",
        "last used",
        "reward",
    }
)
_OWN_COLUMNS = frozenset({"structure id", "skeleton", "renderer", "status"})
_FORBIDDEN = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}

Answer = TypeVar("Answer")


class _PacedAdapter(HTTPAdapter):
    """Sends a request when it is its turn, pages of a list and all."""

    def __init__(self, rate: AirtableRate) -> None:
        super().__init__()
        self._rate = rate

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self._rate.take()
        return super().send(request, *args, **kwargs)


class AirtableBase:
    """The base, with a time limit, our own pace and our own retries on every request.

    Args:
        settings: key, base and tables.
        rate: shared by all processes.
        timeout_s: to connect, to read.
    """

    def __init__(self, settings: AirtableSettings, rate: AirtableRate, timeout_s: tuple[int, int] = TIMEOUT_S) -> None:
        self._settings = settings
        self._rate = rate
        self._api = Api(settings.api_key, timeout=timeout_s, retry_strategy=None, endpoint_url=settings.endpoint_url)
        self._api.session.mount(settings.endpoint_url, _PacedAdapter(rate))
        self.has_settings = bool(settings.batch_settings_table)
        self.has_structures = bool(settings.structures_table)
        self.has_prompts = bool(settings.prompts_table)
        self.has_history = bool(settings.history_table)

    def read_settings(self) -> SettingsRecord:
        """Read the first row of the settings table.

        Airtable leaves an unticked box out of its answer, so that an absent `batchEnabled` means "off" where the table
        has such a field and nothing where it has none; the schema says which.
        """
        rows = self._list(self._settings.batch_settings_table, max_records=1)
        if not rows:
            return SettingsRecord(notes=("settings: the table has no row",))
        fields = rows[0]["fields"]
        enabled, notes = self._read_enabled(fields)
        numbers = {name: _read_whole(fields.get(name)) for name in ("batchSize", "numPrompts")}
        notes += tuple(
            f"settings: {name} is no whole number and was left out"
            for name, number in numbers.items()
            if number is None and fields.get(name) is not None
        )
        renderer = clean(str(fields.get("renderer") or ""), keep_lines=False)[:MAX_RENDERER_CHARS]
        return SettingsRecord(enabled, numbers["batchSize"], numbers["numPrompts"], renderer or None, notes)

    def _read_enabled(self, fields: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
        if BATCH_ENABLED in fields:
            return _is_ticked(fields[BATCH_ENABLED]), ()
        try:
            exists = self._has_field(self._settings.batch_settings_table, BATCH_ENABLED)
        except PersistentError:
            return True, (ENABLED_UNKNOWN,)
        return not exists, ()

    def _has_field(self, table: str, name: str) -> bool:
        # Not pyairtable's schema models: they refuse a base with a kind of field they do not know yet.
        url = self._api.build_url("meta", "bases", self._settings.base_id, "tables")
        answer = self._read(lambda: self._api.get(url))
        tables = answer.get("tables", []) if isinstance(answer, dict) else []
        for found in tables:
            if table in {found.get("id"), found.get("name")}:
                return any(field.get("name") == name for field in found.get("fields", []))
        raise PersistentError("Airtable's schema does not name the settings table.", code="airtable_schema")

    def read_structures(self) -> list[Structure]:
        """Read the structures that have a skeleton.

        A structure's number is its id; without one, its record id is. Where a number is used twice, the first has it.
        """
        found: dict[str, Structure] = {}
        for row in self._list(self._settings.structures_table):
            item = _read_structure(row)
            if item is not None and item.structure_id in found:
                item = _read_structure(row, numbered=False)
            if item is not None:
                found[item.structure_id] = item
        return list(found.values())

    def read_designers(self) -> list[Named] | None:
        """Read the designers; None without their table."""
        return self._read_named(self._settings.designers_table)

    def read_garments(self) -> list[Named] | None:
        """Read the garments; None without their table."""
        return self._read_named(self._settings.garments_table)

    def _read_named(self, table: str) -> list[Named] | None:
        return [named for named in map(_read_name, self._list(table)) if named is not None] if table else None

    def find_prompts(self, texts: Sequence[str]) -> list[BaseRecord]:
        """Find prompt records by their exact text, apart from outer blanks."""
        wanted = {text.strip() for text in texts}
        rows = self._list(
            self._settings.prompts_table, formula=OR(*(_same_text(PROMPT_FIELD, text) for text in sorted(wanted)))
        )
        return [_read_record(row) for row in rows if str(row["fields"].get(PROMPT_FIELD, "")).strip() in wanted]

    def create_prompts(self, lot: Sequence[Mapping[str, Any]]) -> list[BaseRecord]:
        """Create up to 10 prompt records with one request."""
        return self._create(self._settings.prompts_table, lot)

    def find_history(self, prompt_record_ids: Sequence[str]) -> list[BaseRecord]:
        """Find history records by the prompts they are about."""
        formula = OR(*(EQ(Field(HISTORY_KEY), record_id) for record_id in sorted(set(prompt_record_ids))))
        return [_read_record(row) for row in self._list(self._settings.history_table, formula=formula)]

    def create_history(self, lot: Sequence[Mapping[str, Any]]) -> list[BaseRecord]:
        """Create up to 10 history records with one request."""
        return self._create(self._settings.history_table, lot)

    def update_scores(self, lot: Sequence[tuple[str, float]]) -> None:
        """Write up to 10 structures' `optimizer_score` with one request."""
        handle = self._api.table(self._settings.base_id, self._settings.structures_table)
        records: list[Any] = [{"id": record_id, "fields": {SCORE_FIELD: score}} for record_id, score in lot]
        self._ask(lambda: handle.batch_update(records))

    def _list(self, table: str, *, max_records: int | None = None, formula: Formula | None = None) -> list[Any]:
        options: dict[str, Any] = {"max_records": max_records, "formula": formula}
        given = {name: value for name, value in options.items() if value is not None}
        handle = self._api.table(self._settings.base_id, table)
        return self._read(lambda: handle.all(**given))

    def _create(self, table: str, lot: Sequence[Mapping[str, Any]]) -> list[BaseRecord]:
        handle = self._api.table(self._settings.base_id, table)
        return [_read_record(row) for row in self._ask(lambda: handle.batch_create([dict(fields) for fields in lot]))]

    def _read(self, call: Callable[[], Answer]) -> Answer:
        """Ask for something that changes nothing: twice more when the trouble may pass."""
        for _ in range(READ_TRIES - 1):
            with contextlib.suppress(TransientError):
                return self._ask(call)
        return self._ask(call)

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        """Do one thing at Airtable; the session waits for its turn before every request.

        Raises:
            StepParked: Airtable's rate is used up for a while.
            StepError: what Airtable, or the way to it, said; `details["executed"]` is False where for certain nothing
                was done.
        """
        try:
            return call()
        except requests.HTTPError as error:
            raise self._explain(error) from None
        except requests.ConnectTimeout:
            raise TransientError("Airtable could not be reached.", code="airtable_away", executed=False) from None
        except requests.RequestException:
            raise TransientError("Airtable did not answer.", code="airtable_away", executed=None) from None
        except (KeyError, TypeError, ValueError):
            raise LogicalError(
                "Airtable answered something we cannot read.", code="airtable_unreadable", executed=None
            ) from None

    def _explain(self, error: requests.HTTPError) -> StepError:
        response = error.response
        status = response.status_code
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._rate.penalise()
            wait_s = read_retry_after(response.headers.get("Retry-After")) or self._settings.penalty_s
            return TransientError(
                "Airtable's rate is used up.", code="airtable_rate", retry_after_s=wait_s, executed=False
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return TransientError(f"Airtable answered with an error ({status}).", code="airtable_failed", executed=None)
        if status in _FORBIDDEN:
            return PersistentError(
                f"Airtable does not let this key use the table ({status}); check AIRTABLE_API_KEY and the table ids.",
                code="airtable_forbidden",
                executed=False,
                status=int(status),
            )
        return PersistentError(
            f"Airtable refused the request ({status}{_reason(response)}).", code="airtable_refused", executed=False
        )


def _reason(response: requests.Response) -> str:
    """Give Airtable's own slug and sentence: they name fields and values, no addresses."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    if isinstance(error, dict):
        return f" {error.get('type', '')}: {str(error.get('message', ''))[:200]}"
    return f" {str(error)[:100]}"


def _same_text(name: str, text: str) -> Formula:
    """Compare a field with a text; over several lines only the longest is looked for, the rest is compared by us."""
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) <= 1:
        return EQ(Field(name), text)
    return FIND(to_formula(max(lines, key=len)), Field(name))


def _read_record(row: Mapping[str, Any]) -> BaseRecord:
    created = row.get("createdTime")
    return BaseRecord(row["id"], dict(row["fields"]), datetime.fromisoformat(created) if created else None)


def _read_structure(row: Mapping[str, Any], *, numbered: bool = True) -> Structure | None:
    fields: Mapping[str, Any] = row["fields"]
    skeleton = clean(str(fields.get("Skeleton") or ""))[:MAX_SKELETON_CHARS]
    if not skeleton:
        return None
    number = fields.get("Structure ID") if numbered else None
    try:
        structure_id = read_structure_id(row["id"] if number is None else number)
    except ValueError:
        structure_id = row["id"]
    liked, shown = _read_whole(fields.get("outlier_count")), _read_whole(fields.get("usage_count"))
    return Structure(
        structure_id,
        skeleton,
        record_id=row["id"],
        renderer=clean(_read_text(fields.get("Renderer")), keep_lines=False)[:MAX_RENDERER_CHARS],
        attributes=_read_attributes(fields, skeleton),
        statistics={
            name: count for name, count in (("liked", liked), ("shown", shown)) if count is not None and count >= 0
        },
        status=clean(_read_text(fields.get("Status")), keep_lines=False)[:40] or "active",
        source="airtable",
    )


def _read_attributes(fields: Mapping[str, Any], skeleton: str) -> dict[str, Any]:
    """Take the table's other scalar fields, then the skeleton's phrases as flags, up to the limit."""
    attributes: dict[str, Any] = {}
    for name, value in fields.items():
        if name.casefold() in _OWN_COLUMNS | _OUTCOMES or not isinstance(value, str | int | float | bool):
            continue
        label = clean(name, keep_lines=False)[:MAX_NAME_CHARS]
        attributes[label] = clean(value)[:MAX_ATTRIBUTE_CHARS] if isinstance(value, str) else value
    for phrase in read_phrases(skeleton):
        attributes.setdefault((PHRASE_FLAG + clean(phrase, keep_lines=False))[:MAX_NAME_CHARS], True)
    return dict(list(attributes.items())[:MAX_ATTRIBUTES])


def _read_name(row: Mapping[str, Any]) -> Named | None:
    """Take the field called Name, else the first text of the record."""
    fields: Mapping[str, Any] = row["fields"]
    named = fields.get("Name") or fields.get("name")
    text = named if isinstance(named, str) else next((value for value in fields.values() if isinstance(value, str)), "")
    label = clean(text, keep_lines=False)[:MAX_NAME_CHARS]
    return Named(row["id"][:MAX_ID_CHARS], label) if label else None


def _read_text(value: Any) -> str:
    if isinstance(value, list):
        return _read_text(value[0]) if value else ""
    return "" if value is None or isinstance(value, dict) else str(value)


def _read_whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _is_ticked(value: Any) -> bool:
    return value.strip().casefold() not in {"", "0", "no", "false", "off"} if isinstance(value, str) else bool(value)
