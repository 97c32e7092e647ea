"""The simulated Airtable takes and refuses what the real one does; spoken to with pyairtable, as we speak to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyairtable
import pytest
import requests
from pyairtable.formulas import AND, EQ, GT, NOT, OR, RECORD_ID, Field, match

from simulator import Simulator

BASE = "appStudio"
FIELDS: list[dict[str, Any]] = [
    {"name": "Name"},
    {"name": "Number", "type": "number"},
    {"name": "Done", "type": "checkbox"},
    {"name": "Status", "type": "singleSelect", "choices": ["Pass", "Outlier"]},
    {"name": "Links", "type": "multipleRecordLinks"},
    {"name": "Made", "type": "createdTime"},
]


@pytest.fixture
def table(simulator: Simulator) -> Iterator[pyairtable.Table]:
    simulator.configure(airtable={"requests_a_second": 1000})
    simulator.seed_airtable(BASE, [{"name": "Things", "fields": FIELDS, "records": []}])
    api = pyairtable.Api("pat1", endpoint_url=simulator.airtable_url, timeout=(5, 5), retry_strategy=None)
    yield api.table(BASE, "Things")
    api.session.close()


def refused(call: Any, *arguments: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(requests.HTTPError) as caught:
        call(*arguments, **options)
    error = caught.value.response.json()["error"]
    return caught.value.response.status_code, error if isinstance(error, str) else error["type"]


def names(records: list[Any]) -> list[str]:
    return [record["fields"]["Name"] for record in records]


def test_empty_fields_are_absent_and_an_unticked_box_is_empty(table: pyairtable.Table) -> None:
    made = table.create({"Name": "a", "Number": 0, "Done": False})

    assert table.get(made["id"])["fields"] == {"Name": "a", "Number": 0}
    assert table.update(made["id"], {"Name": "", "Done": True})["fields"] == {"Number": 0, "Done": True}


def test_lots_of_ten_are_taken_and_eleven_refused(table: pyairtable.Table, simulator: Simulator) -> None:
    assert len(table.batch_create([{"Name": str(number)} for number in range(23)])) == 23
    assert simulator.count(f"/airtable/v0/{BASE}/Things", "POST") == 3

    body = {"records": [{"fields": {"Name": "x"}}] * 11}
    answer = requests.post(table.urls.records, json=body, headers={"Authorization": "Bearer pat1"}, timeout=5)
    assert answer.status_code == 422
    assert len(table.all()) == 23


def test_a_field_that_is_not_there_is_named_and_the_whole_lot_refused(table: pyairtable.Table) -> None:
    assert refused(table.batch_create, [{"Name": "ok"}, {"Nmae": "typo"}]) == (422, "UNKNOWN_FIELD_NAME")
    assert table.all() == []


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"Number": "four"}, "INVALID_VALUE_FOR_COLUMN"),
        ({"Done": "yes"}, "INVALID_VALUE_FOR_COLUMN"),
        ({"Name": 4}, "INVALID_VALUE_FOR_COLUMN"),
        ({"Links": ["not a record"]}, "INVALID_VALUE_FOR_COLUMN"),
        ({"Links": "rec00000000000001"}, "INVALID_VALUE_FOR_COLUMN"),
        ({"Made": "2026-11-20"}, "INVALID_VALUE_FOR_COLUMN"),
        ({"Status": "New"}, "INVALID_MULTIPLE_CHOICE_OPTIONS"),
    ],
)
def test_a_value_a_column_cannot_hold_is_refused(table: pyairtable.Table, fields: dict[str, Any], kind: str) -> None:
    assert refused(table.create, fields) == (422, kind)


def test_typecast_makes_options_and_numbers(table: pyairtable.Table) -> None:
    assert table.create({"Status": "New", "Number": "4.5"}, typecast=True)["fields"] == {"Status": "New", "Number": 4.5}
    assert table.create({"Status": "New"})["fields"] == {"Status": "New"}


def test_formulas_as_pyairtable_writes_them_select(table: pyairtable.Table) -> None:
    first = table.create({"Name": 'it\'s "a" \\ {b}', "Number": 1, "Done": True})
    table.batch_create([{"Name": "b", "Number": 2, "Status": "Outlier"}, {"Name": "c", "Number": 3}, {"Name": "d"}])

    chosen = {
        "quotes": table.all(formula=match({"Name": 'it\'s "a" \\ {b}'})),
        "number": table.all(formula=EQ(Field("Number"), 2)),
        "both": table.all(formula=match({"Name": "b", "Status": "Outlier"})),
        "either": table.all(formula=OR(EQ(Field("Name"), "b"), EQ(Field("Name"), "d"))),
        "not": table.all(formula=NOT(EQ(Field("Number"), 1))),
        "more": table.all(formula=AND(GT(Field("Number"), 1), NOT(EQ(Field("Status"), "Outlier")))),
        "ticked": table.all(formula=match({"Done": True})),
        "id": table.all(formula=EQ(RECORD_ID(), first["id"])),
        "or a list": table.all(formula=OR(*(EQ(Field("Number"), number) for number in (2, 3)))),
    }

    assert {key: len(found) for key, found in chosen.items()} == {
        "quotes": 1,
        "number": 1,
        "both": 1,
        "either": 2,
        "not": 3,
        "more": 1,
        "ticked": 1,
        "id": 1,
        "or a list": 2,
    }
    assert names(chosen["either"]) == ["b", "d"]


@pytest.mark.parametrize("formula", ["{Ghost} = 1", "AND(", "SUM({Number}, 1) = 2", "{Name} == 'a'", "{Name} = 'a' }"])
def test_a_formula_that_cannot_be_read_is_refused(table: pyairtable.Table, formula: str) -> None:
    assert refused(table.all, formula=formula) == (422, "INVALID_FILTER_BY_FORMULA")


def test_lists_come_in_pages_sorted_and_cut(table: pyairtable.Table, simulator: Simulator) -> None:
    table.batch_create([{"Name": f"{number:02d}", "Number": -number} for number in range(25)])

    assert names(table.all(page_size=10, sort=["Number"]))[:3] == ["24", "23", "22"]
    assert len(simulator.log(f"/airtable/v0/{BASE}/Things", "GET")) == 3
    assert names(table.all(max_records=2, sort=["-Name"], fields=["Name"])) == ["24", "23"]
    assert table.all(max_records=1, fields=["Name"])[0]["fields"] == {"Name": "00"}


def test_a_formula_too_long_for_an_address_is_posted(table: pyairtable.Table, simulator: Simulator) -> None:
    table.create({"Name": "needle"})

    found = table.all(
        formula=OR(*(EQ(Field("Name"), f"{'x' * 100}{number}") for number in range(200)), EQ(Field("Name"), "needle"))
    )

    assert names(found) == ["needle"]
    assert simulator.count(f"/airtable/v0/{BASE}/Things/listRecords", "POST") == 1


def test_an_upsert_says_what_it_made_and_what_it_changed(table: pyairtable.Table) -> None:
    table.create({"Name": "a", "Number": 1})

    done = table.batch_upsert([{"fields": {"Name": "a", "Number": 5}}, {"fields": {"Name": "b"}}], key_fields=["Name"])

    assert (len(done["updatedRecords"]), len(done["createdRecords"])) == (1, 1)
    assert {record["fields"]["Name"]: record["fields"].get("Number") for record in table.all()} == {"a": 5, "b": None}


def test_replacing_empties_what_is_not_named_and_updating_does_not(table: pyairtable.Table) -> None:
    made = table.create({"Name": "a", "Number": 1})

    assert table.update(made["id"], {"Number": 2})["fields"] == {"Name": "a", "Number": 2}
    assert table.update(made["id"], {"Number": 3}, replace=True)["fields"] == {"Number": 3}
    assert table.batch_update([{"id": made["id"], "fields": {"Name": "z"}}])[0]["fields"] == {"Name": "z", "Number": 3}


def test_deleting_one_and_many(table: pyairtable.Table) -> None:
    ids = [record["id"] for record in table.batch_create([{"Name": str(number)} for number in range(12)])]

    assert table.delete(ids[0])["deleted"]
    assert all(gone["deleted"] for gone in table.batch_delete(ids[1:]))
    assert table.all() == []
    assert refused(table.get, ids[0]) == (404, "NOT_FOUND")


def test_the_schema_tells_columns_and_options(table: pyairtable.Table) -> None:
    schema = table.api.base(BASE).schema()

    things = schema.table("Things")
    assert [column.name for column in things.fields] == [column["name"] for column in FIELDS]
    assert [choice.name for choice in things.field("Status").options.choices] == ["Pass", "Outlier"]  # type: ignore[union-attr]


def test_a_table_can_be_named_by_its_id(table: pyairtable.Table) -> None:
    table.create({"Name": "a"})
    by_id = table.api.table(BASE, table.api.base(BASE).schema().table("Things").id)

    assert names(by_id.all()) == ["a"]


def test_unknown_tables_and_missing_keys_are_refused(simulator: Simulator, table: pyairtable.Table) -> None:
    assert refused(table.api.table(BASE, "Ghosts").all) == (403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND")

    answer = requests.get(table.urls.records, timeout=5)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "AUTHENTICATION_REQUIRED")


def test_the_sixth_request_of_a_second_shuts_the_base_for_its_penalty(
    simulator: Simulator, table: pyairtable.Table
) -> None:
    simulator.configure(airtable={"requests_a_second": 5, "penalty_s": 0.4})
    simulator.seed_airtable("appOther", [{"name": "Things", "fields": FIELDS, "records": []}])
    time.sleep(1.05)  # a second without requests
    statuses = [
        requests.get(table.urls.records, headers={"Authorization": "Bearer p"}, timeout=5).status_code for _ in range(7)
    ]
    other = requests.get(table.urls.records.replace(BASE, "appOther"), headers={"Authorization": "Bearer p"}, timeout=5)

    assert statuses == [200] * 5 + [429] * 2
    assert other.status_code == 200
    assert refused_words(table) == "RATE_LIMIT_REACHED"
    time.sleep(1.1)
    assert requests.get(table.urls.records, headers={"Authorization": "Bearer p"}, timeout=5).status_code == 200


def refused_words(table: pyairtable.Table) -> str:
    answer = requests.get(table.urls.records, headers={"Authorization": "Bearer p"}, timeout=5)
    return str(answer.json()["errors"][0]["error"])


def test_a_record_made_before_the_line_went_dead_is_there(simulator: Simulator, table: pyairtable.Table) -> None:
    simulator.fault(f"/airtable/v0/{BASE}/Things", method="POST", drop="after")

    with pytest.raises(requests.ConnectionError):
        table.create({"Name": "a"})

    assert names(table.all()) == ["a"]
