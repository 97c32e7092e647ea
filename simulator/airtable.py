"""Airtable's REST wire over `AirtableBases`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.airtable_bases import MOST_RECORDS_A_REQUEST, AirtableBases, AirtableError, Table
from simulator.formula import CREATED_KEY, RECORD_ID_KEY, FormulaError, compile_formula
from simulator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MOST_PAGE_SIZE = 100
MOST_MERGE_FIELDS = 3


def routes(prefix: str) -> list[web.RouteDef]:
    """List the routes below a prefix."""
    table = f"{prefix}/v0/{{base}}/{{table}}"
    return [
        web.get(f"{prefix}/v0/meta/bases/{{base}}/tables", _guarded(_schema)),
        web.get(table, _guarded(_list)),
        web.post(f"{table}/listRecords", _guarded(_list)),
        web.post(table, _guarded(_create)),
        web.patch(table, _guarded(_update_many)),
        web.put(table, _guarded(_update_many)),
        web.delete(table, _guarded(_delete_many)),
        web.get(f"{table}/{{record}}", _guarded(_get)),
        web.patch(f"{table}/{{record}}", _guarded(_update_one)),
        web.put(f"{table}/{{record}}", _guarded(_update_one)),
        web.delete(f"{table}/{{record}}", _guarded(_delete_one)),
    ]


def _guarded(
    handle: Callable[[web.Request, AirtableBases], Awaitable[dict[str, Any]]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Check key and rate first, and turn refusals into Airtable's bodies."""

    async def run(request: web.Request) -> web.Response:
        bases = request.app[STATE].airtable
        if (
            not request.headers.get("Authorization", "").startswith("Bearer ")
            or "invalid" in request.headers["Authorization"]
        ):
            return _refuse(AirtableError(401, "AUTHENTICATION_REQUIRED", "Authentication required"))
        if not bases.meter(request.match_info["base"]):
            refusal = {
                "errors": [{"error": "RATE_LIMIT_REACHED", "message": "Rate limit exceeded. Please try again later"}]
            }
            return web.json_response(refusal, status=429)
        try:
            return web.json_response(await handle(request, bases))
        except AirtableError as error:
            return _refuse(error)

    return run


def _refuse(error: AirtableError) -> web.Response:
    return web.json_response(error.body, status=error.status)


def _table(request: web.Request, bases: AirtableBases) -> Table:
    return bases.table(request.match_info["base"], request.match_info["table"])


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise AirtableError(
            422, "INVALID_REQUEST_UNKNOWN", "Invalid request: parameter validation failed. Check your request data."
        )
    return body


async def _schema(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    tables = bases.bases.get(request.match_info["base"])
    if tables is None:
        raise AirtableError(404, "NOT_FOUND")
    return {
        "tables": [
            {
                "id": table.id,
                "name": table.name,
                "primaryFieldId": next(iter(table.fields.values())).id,
                "fields": [column.to_json() for column in table.fields.values()],
                "views": [{"id": f"viw{table.id[3:]}", "name": "Grid view", "type": "grid"}],
            }
            for table in tables.values()
        ]
    }


async def _get(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    table = _table(request, bases)
    return table.show(_known(table, request.match_info["record"]), by_id=_by_id(request.query))


def _known(table: Table, record_id: str) -> str:
    if record_id not in table.records:
        raise AirtableError(404, "NOT_FOUND")
    return record_id


def _by_id(options: Any) -> bool:
    return str(options.get("returnFieldsByFieldId", "")).lower() in {"1", "true"}


async def _list(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    table = _table(request, bases)
    options = await _list_options(request)
    ids = _sorted(table, _filtered(table, options.get("filterByFormula")), options["sort"])
    ids = ids[: int(options["maxRecords"])] if options.get("maxRecords") else ids
    start = _offset(options.get("offset"), len(ids))
    size = min(int(options.get("pageSize") or MOST_PAGE_SIZE), bases.limits.page_size)
    page = ids[start : start + size]
    answer: dict[str, Any] = {
        "records": [table.show(key, only=options["fields"], by_id=_by_id(options)) for key in page]
    }
    if start + size < len(ids):
        answer["offset"] = f"itr{table.id[3:]}/{start + size}"
    return answer


async def _list_options(request: web.Request) -> dict[str, Any]:
    """Read the options from the query, or from the body of a listRecords POST."""
    if request.method == "POST":
        body = await _body(request)
        return {
            **body,
            "fields": body.get("fields"),
            "sort": [(item["field"], item.get("direction", "asc")) for item in body.get("sort", [])],
        }
    query = request.query
    sort: list[tuple[str, str]] = []
    while (name := query.get(f"sort[{len(sort)}][field]")) is not None:
        sort.append((name, query.get(f"sort[{len(sort)}][direction]", "asc")))
    fields = query.getall("fields[]", []) or query.getall("fields", [])
    return {**query, "fields": fields or None, "sort": sort}


def _filtered(table: Table, formula: str | None) -> list[str]:
    if not formula:
        return list(table.records)
    try:
        test = compile_formula(formula, set(table.fields))
        return [
            key
            for key, values in table.records.items()
            if test({**values, RECORD_ID_KEY: key, CREATED_KEY: table.created[key]})
        ]
    except FormulaError as error:
        raise AirtableError(
            422, "INVALID_FILTER_BY_FORMULA", f"The formula for filtering records is invalid: {error}"
        ) from error


def _sorted(table: Table, ids: list[str], sort: list[tuple[str, str]]) -> list[str]:
    for name, direction in reversed(sort):
        column = table.field(name).name
        ids = sorted(ids, key=lambda key: _sort_key(table.records[key].get(column)), reverse=direction == "desc")
    return ids


def _sort_key(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))


def _offset(raw: Any, length: int) -> int:
    if not raw:
        return 0
    place = str(raw).rpartition("/")[2]
    if not place.isdigit() or int(place) > length:
        raise AirtableError(422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE")
    return int(place)


def _lot(body: dict[str, Any]) -> list[dict[str, Any]]:
    records = body.get("records")
    if not isinstance(records, list) or not 0 < len(records) <= MOST_RECORDS_A_REQUEST:
        raise AirtableError(
            422,
            "INVALID_RECORDS",
            f"The request must contain an array of at least 1 and at most {MOST_RECORDS_A_REQUEST} records.",
        )
    return records


async def _create(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    table, body = _table(request, bases), await _body(request)
    typecast, by_id = body.get("typecast") is True, _by_id(body)
    if "records" not in body:
        return table.show(bases.create(table, body.get("fields"), typecast=typecast), by_id=by_id)
    lot = _lot(body)
    for record in lot:  # all or nothing
        table.check(record.get("fields"), typecast=typecast)
    made = [bases.create(table, record["fields"], typecast=typecast) for record in lot]
    return {"records": [table.show(key, by_id=by_id) for key in made]}


async def _update_one(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    table, body = _table(request, bases), await _body(request)
    record_id = _known(table, request.match_info["record"])
    table.write(
        record_id,
        table.check(body.get("fields"), typecast=body.get("typecast") is True),
        replace=request.method == "PUT",
    )
    return table.show(record_id, by_id=_by_id(body))


async def _update_many(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    table, body = _table(request, bases), await _body(request)
    typecast, replace, lot = body.get("typecast") is True, request.method == "PUT", _lot(body)
    checked = [table.check(record.get("fields"), typecast=typecast) for record in lot]
    if "performUpsert" in body:
        return _upsert(bases, table, body, checked)
    ids = [_known(table, str(record.get("id"))) for record in lot]
    for record_id, values in zip(ids, checked, strict=True):
        table.write(record_id, values, replace=replace)
    return {"records": [table.show(key, by_id=_by_id(body)) for key in ids]}


def _upsert(bases: AirtableBases, table: Table, body: dict[str, Any], checked: list[dict[str, Any]]) -> dict[str, Any]:
    keys = body["performUpsert"].get("fieldsToMergeOn", [])
    if not 0 < len(keys) <= MOST_MERGE_FIELDS:
        raise AirtableError(422, "INVALID_REQUEST_UNKNOWN", "fieldsToMergeOn must name one to three fields")
    columns = [table.field(name).name for name in keys]
    targets = [
        record.get("id") or _match(table, columns, values)
        for record, values in zip(body["records"], checked, strict=True)
    ]
    shown, created, updated = [], [], []
    for target, values in zip(targets, checked, strict=True):
        if target is None:
            key = bases.create(table, values, typecast=True)
            created.append(key)
        else:
            key = _known(table, target)
            table.write(key, values)
            updated.append(key)
        shown.append(key)
    return {
        "records": [table.show(key, by_id=_by_id(body)) for key in shown],
        "createdRecords": created,
        "updatedRecords": updated,
    }


def _match(table: Table, columns: list[str], values: dict[str, Any]) -> str | None:
    if any(column not in values for column in columns):
        raise AirtableError(422, "INVALID_REQUEST_UNKNOWN", "every record needs the fields to merge on")
    found = [
        key for key, stored in table.records.items() if all(stored.get(column) == values[column] for column in columns)
    ]
    if len(found) > 1:
        raise AirtableError(422, "INVALID_VALUE_FOR_COLUMN", "several records match the fields to merge on")
    return found[0] if found else None


async def _delete_one(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    return _drop(_table(request, bases), request.match_info["record"])


async def _delete_many(request: web.Request, bases: AirtableBases) -> dict[str, Any]:
    table = _table(request, bases)
    lot = _lot({"records": request.query.getall("records[]", []) or request.query.getall("records", [])})
    ids = [_known(table, str(record_id)) for record_id in lot]
    return {"records": [_drop(table, key) for key in ids]}


def _drop(table: Table, record_id: str) -> dict[str, Any]:
    del table.records[_known(table, record_id)]
    return {"id": record_id, "deleted": True}
