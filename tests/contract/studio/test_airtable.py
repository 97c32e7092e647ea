"""The users' base through pyairtable, against the simulator that refuses what Airtable refuses."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from app.errors import PersistentError, StepParked, TransientError
from app.runs.ports import StepContext
from app.settings import AirtableSettings
from app.studio.airtable import ENABLED_UNKNOWN, AirtableBase
from app.studio.model import Asked, PromptDraft
from app.studio.rate import AirtableRate
from app.studio.writing import PromptWriter
from simulator import Simulator
from tests.integration.studio.harness import LOCAL, MakeStudio, Studio
from tests.integration.studio.inline_runs import Context, Crashed

BASE = "appStudio"
LONG_TEXT, LINKS = {"type": "multilineText"}, {"type": "multipleRecordLinks"}
RENDERER = {"name": "Renderer", "type": "singleSelect", "choices": ["ImageFX", "Recraft"]}
LINKED = [{"name": name, **LINKS} for name in ("Designer", "Garment", "Prompt Structure")]
RUN = "0190a000-0000-7000-8000-000000000001"
PROMPTS, HISTORY = "/airtable/v0/appStudio/Prompts", "/airtable/v0/appStudio/History"

SETTINGS_FIELDS = [
    {"name": "batchEnabled", "type": "checkbox"},
    {"name": "numPrompts", "type": "number"},
    {"name": "batchSize", "type": "number"},
    {"name": "renderer"},
]
STRUCTURE_FIELDS = [
    {"name": "Structure ID", "type": "number"},
    {"name": "Skeleton", **LONG_TEXT},
    RENDERER,
    {"name": "Status"},
    {"name": "Season"},
    {"name": "outlier_count", "type": "number"},
    {"name": "usage_count", "type": "number"},
    {"name": "optimizer_score", "type": "number"},
]

PORTRAIT = {
    "Structure ID": 42,
    "Skeleton": "Portrait of [MODEL] in [GARMENT] by [DESIGNER], golden light, desert dunes",
    "Renderer": "ImageFX",
    "Season": "summer",
    "outlier_count": 9,
    "usage_count": 18,
    "optimizer_score": 0.9,
}


def tables(**changes: Any) -> list[dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {
        "Settings": {"fields": SETTINGS_FIELDS, "records": [{"batchEnabled": True, "numPrompts": 4, "batchSize": 2}]},
        "Structures": {
            "fields": STRUCTURE_FIELDS,
            "records": [
                PORTRAIT,
                {"Structure ID": 43, "Skeleton": "[GARMENT] on a chair, window light, quiet room"},
                {"Structure ID": 44, "Skeleton": "Old way", "Status": "Archived"},
                {"Structure ID": 45},
            ],
        },
        "Prompts": {"fields": [{"name": "New Prompt", **LONG_TEXT}, RENDERER, *LINKED]},
        "History": {"fields": [{"name": "Prompt ID"}, {"name": "Prompt", **LONG_TEXT}, RENDERER, *LINKED]},
        "Designers": {"fields": [{"name": "Name"}], "records": [{"Name": "Amara Voss"}, {"Name": "Studio Lind"}]},
        "Garments": {"fields": [{"name": "Name"}], "records": [{"Name": "Luisa Trouser"}]},
    }  # fmt: skip
    return [{"name": name, **table} for name, table in (made | changes).items()]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    connection = redis.Redis.from_url(redis_url)
    yield connection
    connection.close()


MakeBase = Callable[..., AirtableBase]


@pytest.fixture
def make_base(simulator: Simulator, client: redis.Redis) -> MakeBase:
    """Seeds the base and gives our side of it, at a test's pace unless the pace is what is tried."""

    def make(
        *, spacing_ms: int = 5, penalty_s: float = 30.0, timeout_s: tuple[int, int] = (2, 5), **changes: Any
    ) -> AirtableBase:
        simulator.seed_airtable(BASE, tables(**changes.pop("tables", {})))
        simulator.configure(airtable={"requests_a_second": 1000 if spacing_ms < 100 else 5, "penalty_s": penalty_s})
        settings = AirtableSettings(
            "pat-test", BASE, "Structures", "Settings", "Prompts", "History", "Designers", "Garments",
            simulator.airtable_url, penalty_s,
        )  # fmt: skip
        rate = AirtableRate(client, BASE, penalty_s, spacing_ms=spacing_ms)
        return AirtableBase(replace(settings, **changes), rate, timeout_s)

    return make


def records(simulator: Simulator, table: str) -> list[dict[str, Any]]:
    from pyairtable import Api

    api = Api("pat-look", timeout=(2, 5), retry_strategy=None, endpoint_url=simulator.airtable_url)
    found = [dict(record["fields"]) | {"id": record["id"]} for record in api.table(BASE, table).all()]
    api.session.close()
    return found


def store_prompts(studio: Studio, count: int, **changes: Any) -> None:
    drafts = [
        PromptDraft(**{"text": f"Prompt {n}, isn't it?", "renderer": "ImageFX", "place": n, **changes})
        for n in range(count)
    ]
    studio.store.prompts.keep(RUN, "k", drafts, only_new=False)


def writer(studio: Studio, base: AirtableBase) -> PromptWriter:
    return PromptWriter(studio.store.prompts, base)


def write(studio: Studio, base: AirtableBase) -> int:
    return writer(studio, base).write_run(RUN, lambda: None)


def test_a_batch_reads_its_settings_and_structures_and_writes_prompts_and_history(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base())
    answer = studio.run_daily()
    assert answer["error"] is None
    assert (answer["ideas_generated"], answer["prompts_generated"], answer["prompts_written"]) == (2, 4, 4)
    written, history = records(simulator, "Prompts"), records(simulator, "History")
    assert len(written) == len(history) == 4
    known = {record["id"] for record in records(simulator, "Structures")}
    for record in written:
        assert set(record) == {"id", "New Prompt", "Renderer", "Designer", "Garment", "Prompt Structure"}
        assert record["Prompt Structure"][0] in known
        assert "Luisa Trouser" in record["New Prompt"]
    by_id = {record["id"]: record for record in written}
    for record in history:
        prompt = by_id[record["Prompt ID"]]
        assert {name: record[name] for name in ("Prompt", "Renderer", "Designer", "Garment", "Prompt Structure")} == {
            "Prompt": prompt["New Prompt"],
            **{name: prompt[name] for name in ("Renderer", "Designer", "Garment", "Prompt Structure")},
        }
    assert studio.rows(
        "select count(*) from prompts where record_id is not null and history_record_id is not null"
    ) == [(4,)]


def test_structures_come_with_their_number_their_record_and_what_was_counted_before(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base())
    assert studio.service.list_structures().total == 0  # no starter catalogue beside the users' own
    assert studio.service.sync_structures() == {"structures": 3, "removed": 0, "designers": 2, "garments": 1}
    (portrait, chair, old) = studio.store.catalogue.all_structures()
    assert (portrait.structure_id, portrait.record_id) == ("42", records(simulator, "Structures")[0]["id"])
    assert portrait.statistics == {"liked": 9, "shown": 18}
    assert portrait.attributes == {
        "Season": "summer",
        "phrase: Portrait of [MODEL] in [GARMENT] by [DESIGNER]": True,
        "phrase: golden light": True,
        "phrase: desert dunes": True,
    }
    assert (chair.usable, old.usable) == (True, False)
    assert studio.store.scores.rates([portrait])[0] == {"42": 0.5}


def test_structures_that_are_gone_are_retired_and_come_back_with_their_record(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    base = make_base()
    studio = make_studio(base=base)
    studio.service.sync_structures()
    kept = [{"id": "recAAAAAAAAAAAAAA", "fields": {"Structure ID": 42, "Skeleton": "Moved to a new record"}}]
    simulator.seed_airtable(BASE, tables(Structures={"fields": STRUCTURE_FIELDS, "records": kept}))
    assert studio.service.sync_structures()["removed"] == 2
    assert [item.structure_id for item in studio.store.catalogue.usable_structures()] == ["42"]
    moved = studio.store.catalogue.find_structure("recAAAAAAAAAAAAAA")
    assert moved is not None
    assert (moved.structure_id, moved.skeleton) == ("42", "Moved to a new record")


def test_two_structures_with_one_number_are_both_kept(make_base: MakeBase, make_studio: MakeStudio) -> None:
    twice = {
        "fields": STRUCTURE_FIELDS,
        "records": [{"Structure ID": 1, "Skeleton": "a"}, {"Structure ID": 1, "Skeleton": "b"}],
    }
    studio = make_studio(base=make_base(tables={"Structures": twice}))
    assert studio.service.sync_structures()["structures"] == 2
    assert {item.structure_id == "1" for item in studio.store.catalogue.all_structures()} == {True, False}


def test_an_unticked_box_switches_the_batch_off_because_the_schema_has_it(
    make_base: MakeBase, make_studio: MakeStudio
) -> None:
    studio = make_studio(
        base=make_base(tables={"Settings": {"fields": SETTINGS_FIELDS, "records": [{"numPrompts": 3}]}})
    )
    answer = studio.run_daily(num_ideas=1, num_prompts=1)
    assert (answer["success"], answer["error"]) == (False, "batch_disabled")
    assert (answer["ideas_generated"], answer["prompts_generated"]) == (0, 0)
    assert studio.run_manual(num_prompts=1)["success"] is True  # a manual generation does not ask


def test_a_base_without_the_box_has_batches_enabled(make_base: MakeBase) -> None:
    plain = {"fields": [{"name": "numPrompts", "type": "number"}], "records": [{"numPrompts": 3}]}
    record = make_base(tables={"Settings": plain}).read_settings()
    assert (record.enabled, record.num_prompts, record.notes) == (True, 3, ())


def test_where_the_schema_may_not_be_read_absent_means_enabled_and_is_said(
    make_base: MakeBase, simulator: Simulator
) -> None:
    base = make_base(tables={"Settings": {"fields": SETTINGS_FIELDS, "records": [{"numPrompts": 3}]}})
    simulator.fault("/airtable/v0/meta", status=403, body={"error": {"type": "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND"}})
    record = base.read_settings()
    assert (record.enabled, record.notes) == (True, (ENABLED_UNKNOWN,))


def test_an_empty_settings_table_says_nothing_and_that_is_said(make_base: MakeBase) -> None:
    record = make_base(tables={"Settings": {"fields": SETTINGS_FIELDS}}).read_settings()
    assert (record.enabled, record.num_prompts, record.notes) == (True, None, ("settings: the table has no row",))


def test_settings_that_cannot_be_read_leave_the_environments_numbers(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base())
    simulator.fault("/airtable/v0/appStudio/Settings", status=503, times=None)
    answer = studio.run_daily(num_ideas=0)
    assert (answer["success"], answer["prompts_generated"]) == (True, 12)
    assert answer["error"] == "Settings: Airtable answered with an error (503). The environment's numbers were used."


def test_prompts_go_out_in_lots_of_ten_and_ids_are_matched_by_what_the_records_say(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio, base = make_studio(), make_base()
    store_prompts(studio, 23)
    assert write(studio, base) == 23
    assert [len(entry["body"]["records"]) for entry in simulator.log(PROMPTS, "POST")] == [10, 10, 3]
    texts = {record["id"]: record["New Prompt"] for record in records(simulator, "Prompts")}
    for row in studio.store.prompts.made_in(RUN):
        assert texts[row["record_id"]] == row["text"]
    assert write(studio, base) == 23  # nothing is left to do
    assert simulator.count(PROMPTS, "POST") == 3


@pytest.mark.parametrize("table", [PROMPTS, HISTORY])
def test_an_answer_that_never_came_creates_nothing_twice(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator, table: str
) -> None:
    studio, base = make_studio(), make_base()
    store_prompts(studio, 12)
    simulator.fault(table, method="POST", drop="after")
    with pytest.raises(TransientError):
        write(studio, base)
    assert write(studio, base) == 12
    assert len(records(simulator, "Prompts")) == len(records(simulator, "History")) == 12
    assert studio.rows("select count(*) from prompts where write_error is not null") == [(0,)]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("table", ["prompts", "history"])
def test_a_crash_between_sending_and_storing_creates_nothing_twice(
    make_base: MakeBase,
    make_studio: MakeStudio,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    table: str,
) -> None:
    studio, base = make_studio(), make_base()
    store_prompts(studio, 12)
    create = getattr(base, f"create_{table}")

    def crash(lot: Any) -> Any:
        if moment == "after":
            create(lot)
        raise Crashed

    with monkeypatch.context() as patch:
        patch.setattr(base, f"create_{table}", crash)
        with pytest.raises(Crashed):
            write(studio, base)
    assert write(studio, base) == 12
    assert len(records(simulator, "Prompts")) == len(records(simulator, "History")) == 12


def test_texts_over_several_lines_and_with_quotes_are_found_again(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio, base = make_studio(), make_base()
    text = "First line with 'quotes' and \\ signs\nthe second, much longer line of the same prompt {x}\nthird"
    store_prompts(studio, 1, text=text)
    simulator.fault(PROMPTS, method="POST", drop="after")
    with pytest.raises(TransientError):
        write(studio, base)
    assert write(studio, base) == 1
    assert [record["New Prompt"] for record in records(simulator, "Prompts")] == [text]


def test_yesterdays_record_with_the_same_words_is_not_taken_for_todays(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio, base = make_studio(), make_base()
    (old,) = base.create_prompts([{"New Prompt": "The same words"}])
    studio.store.prompts.keep(
        "0190a000-0000-7000-8000-000000000009", "k", [PromptDraft("The same words", "")], only_new=False
    )
    (row,) = studio.store.prompts.made_in("0190a000-0000-7000-8000-000000000009")
    studio.store.prompts.set_records({row["prompt_id"]: old.record_id})
    store_prompts(studio, 1, text="The same words")
    simulator.fault(PROMPTS, method="POST", drop="before")
    with pytest.raises(TransientError):
        write(studio, base)
    assert write(studio, base) == 1
    assert len(records(simulator, "Prompts")) == 2


def test_a_failed_lot_costs_only_itself_and_is_tried_again_by_the_step(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base())
    simulator.fault(PROMPTS, method="POST", status=500, skip=1)
    answer = studio.run_manual(num_prompts=25)
    assert (answer["error"], answer["prompts_written"]) == (None, 25)
    assert len(records(simulator, "Prompts")) == 25


def test_a_base_that_stays_away_is_reported_with_what_is_missing(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base())
    simulator.fault(PROMPTS, method="POST", status=500, times=None, skip=1)
    answer = studio.run_manual(num_prompts=25)
    assert (answer["success"], answer["prompts_generated"], answer["prompts_written"]) == (True, 25, 10)
    assert answer["error"] == "15 of 25 prompts were not written to Airtable: Airtable answered with an error (500)."
    assert studio.rows("select count(*) from prompts where write_error is not null") == [(15,)]


def test_one_refused_record_of_a_lot_does_not_take_the_others_with_it(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio, base = make_studio(), make_base()
    store_prompts(studio, 9)
    studio.store.prompts.keep(RUN, "k2", [PromptDraft("Bad renderer", "Nobody's", 9)], only_new=False)
    with pytest.raises(PersistentError, match="INVALID_MULTIPLE_CHOICE_OPTIONS"):
        write(studio, base)
    assert len(records(simulator, "Prompts")) == len(records(simulator, "History")) == 9
    assert studio.rows("select text from prompts where write_error is not null") == [("Bad renderer",)]


def test_a_table_without_the_field_is_given_up_early_and_named(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio()
    base = make_base(tables={"Prompts": {"fields": [{"name": "Something else"}]}})
    store_prompts(studio, 50)
    with pytest.raises(PersistentError, match="New Prompt"):
        write(studio, base)
    assert simulator.count(PROMPTS, "POST") < 10


def test_a_wrong_key_is_said_without_showing_it(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base(api_key="pat-invalid"))
    answer = studio.run_manual(num_prompts=11, renderer="ImageFX")
    assert (answer["success"], answer["prompts_written"]) == (True, 0)
    assert "AIRTABLE_API_KEY" in answer["error"]
    assert "pat-invalid" not in answer["error"]
    assert simulator.count(PROMPTS, "POST") == 1


def test_after_a_429_everybody_waits_for_the_penalty_and_nothing_is_lost(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    base = make_base(penalty_s=30.0)
    studio = make_studio(base=base)
    store_prompts(studio, 1)
    simulator.fault(PROMPTS, method="POST", status=429, body={"errors": [{"error": "RATE_LIMIT_REACHED"}]})
    with pytest.raises(TransientError) as caught:
        write(studio, base)
    assert (caught.value.code, caught.value.retry_after_s) == ("airtable_rate", 30.0)
    asked = simulator.count("/airtable")
    with pytest.raises(StepParked):
        write(studio, base)
    with pytest.raises(StepParked):
        base.read_settings()
    assert simulator.count("/airtable") == asked  # not one request within the penalty
    assert studio.rows("select sent_at is null from prompts") == [(True,)]


def test_a_batch_goes_on_by_itself_after_a_penalty(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base(penalty_s=0.5))
    simulator.fault(PROMPTS, method="POST", status=429, body={"errors": [{"error": "RATE_LIMIT_REACHED"}]})
    answer = studio.run_manual(num_prompts=12)
    assert (answer["error"], answer["prompts_written"]) == (None, 12)
    assert len(records(simulator, "Prompts")) == 12


def test_a_whole_batch_stays_within_five_requests_a_second(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base(spacing_ms=225))
    begun = time.monotonic()
    answer = studio.run_daily(num_ideas=1, num_prompts=12)
    assert (answer["error"], answer["prompts_written"]) == (None, 12)
    assert time.monotonic() - begun < 5
    refused = Counter(entry["status"] for entry in simulator.log("/airtable"))
    assert refused[429] == 0


def test_a_silent_base_is_not_waited_for_longer_than_its_time_limit(make_base: MakeBase, simulator: Simulator) -> None:
    base = make_base(timeout_s=(1, 1))
    simulator.fault("/airtable/v0/appStudio/Settings", delay_s=1.6, times=None)
    begun = time.monotonic()
    with pytest.raises(TransientError):
        base.read_settings()
    assert time.monotonic() - begun < 5


def test_a_cancelled_run_writes_no_further_lot(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio, base = make_studio(), make_base()
    store_prompts(studio, 30)
    context: StepContext = Context(RUN, "written", [])

    def check() -> None:
        context.cancelled = simulator.count(PROMPTS, "POST") >= 1  # type: ignore[attr-defined]
        context.check_cancelled()

    with pytest.raises(Exception, match="cancelled"):
        writer(studio, base).write_run(RUN, check)
    assert len(records(simulator, "Prompts")) == 10


def test_long_lists_are_read_page_by_page(make_base: MakeBase, simulator: Simulator) -> None:
    many = [{"Structure ID": number, "Skeleton": f"Skeleton {number}"} for number in range(230)]
    base = make_base(tables={"Structures": {"fields": STRUCTURE_FIELDS, "records": many}})
    assert len(base.read_structures()) == 230
    assert simulator.count("/airtable/v0/appStudio/Structures") == 3


def test_the_manual_generation_takes_the_records_renderer_and_not_its_number(
    make_base: MakeBase, make_studio: MakeStudio
) -> None:
    row = {"batchEnabled": True, "numPrompts": 4, "renderer": "Recraft"}
    studio = make_studio(base=make_base(tables={"Settings": {"fields": SETTINGS_FIELDS, "records": [row]}}))
    batch = studio.service.start_manual_generation(Asked(), LOCAL)
    report = studio.runs.finish_run(batch.run_id).variables["report"]
    assert (report["renderer"], report["prompts_generated"]) == ("Recraft", 12)
