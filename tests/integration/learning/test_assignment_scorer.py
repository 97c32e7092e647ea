"""The learned part of assignments, from feedback to the score it has a part in."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from statistics import fmean

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from app.assignments.model import DEFAULT_WEIGHTS, Record, Result, features, formula
from app.assignments.service import Feedback, Task
from app.bootstrap import build
from app.cli import main
from app.errors import PersistentError, TransientError
from app.learning.assignment import AssignmentLearner, AssignmentModel, as_columns, build_rows
from app.learning.model import Version
from app.runs.model import RunStatus
from app.settings import Settings
from tests.integration.learning.judging import (
    ENOUGH,
    PEOPLE,
    ROLES,
    Office,
    facts_of,
    judgements,
    make_office,
    person,
    wanted,
)
from tests.integration.studio.inline_runs import Context, Crashed

MakeOffice = Callable[..., Office]


@pytest.fixture
def make(settings: Settings, engine: sa.Engine) -> MakeOffice:
    def made(**options: float) -> Office:
        return make_office(settings, engine, **options)  # type: ignore[arg-type]  # a test names what it changes

    return made


@pytest.fixture
def office(make: MakeOffice) -> Office:
    return make()


@pytest.fixture
def learned(office: Office) -> Office:
    """An office that has learned who should do what."""
    office.hear(judgements(ENOUGH))
    assert office.train().variables["training"]["status"] == "trained"
    return office


def serving(office: Office) -> tuple[Version, AssignmentModel]:
    found = office.registry.serving("assignment")
    assert found.version is not None
    assert isinstance(found.scorer, AssignmentModel)
    return found.version, found.scorer


def everybody(role: str = "Lector") -> Task:
    return Task(role, tuple(range(PEOPLE)), {}, {})


def by_formula(office: Office, number: int, role: str) -> float:
    with office.store.transaction() as connection:
        records = office.store.read_records(connection, [role], [number])
    return sum(t.value for t in formula(role, facts_of(number), records.get((number, role), Record()), DEFAULT_WEIGHTS))


def assert_formula_alone(office: Office) -> None:
    data = office.service.assign_task(everybody())
    assert data["model_version"] == "heuristic"
    for entry in data["ranking"]:
        assert entry["score"] == pytest.approx(by_formula(office, entry["person_id"], "Lector"), abs=1e-6)


# --- when it is trained ---


def test_too_little_feedback_trains_nothing_and_says_skipped(office: Office) -> None:
    office.hear(judgements(60))
    answer = office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))
    assert (answer["ml_status"], answer["status"]) == ("skipped", "weights_updated")
    assert office.runs.published == []
    assert not office.training.start_due()


def test_feedback_that_all_says_yes_teaches_no_difference_and_is_skipped(office: Office) -> None:
    office.hear([(known, "aceptada", at) for known, _, at in judgements(ENOUGH)])
    assert office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))["ml_status"] == "skipped"


def test_below_the_threshold_nothing_starts(make: MakeOffice) -> None:
    office = make(threshold=ENOUGH + 2)
    office.hear(judgements(ENOUGH))
    said = [office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))["ml_status"] for _ in range(2)]
    assert said == ["skipped", "scheduled"]
    assert len(office.runs.published) == 1


def test_a_burst_of_feedback_is_one_training_at_a_time_on_the_learning_queue(office: Office) -> None:
    office.hear(judgements(ENOUGH))
    said = {office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))["ml_status"] for _ in range(5)}
    assert said == {"scheduled"}
    [run_id] = office.runs.published
    assert office.runs.requests[run_id].queues == {"train": "learning"}
    office.runs.finish_run(run_id)
    assert office.waiting() == 0
    assert not office.training.start_due()


def test_feedback_from_many_at_once_starts_one_training(office: Office) -> None:
    office.hear(judgements(ENOUGH))
    together = threading.Barrier(8)
    said: list[str] = []

    def judge(number: int) -> None:
        together.wait()
        said.append(office.service.record_feedback(Feedback("Lector", number, Result.ACCEPTED))["ml_status"])

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["scheduled"] * 8
    assert len(office.runs.published) == 1
    assert office.waiting() == ENOUGH + 8


def test_between_two_trainings_there_is_a_pause_and_beat_starts_what_waited(
    make: MakeOffice, engine: sa.Engine
) -> None:
    office = make(pause_s=600)
    office.hear(judgements(ENOUGH))
    office.train()
    answer = office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))
    assert (answer["ml_status"], len(office.runs.published)) == ("scheduled", 1)
    with engine.begin() as connection:
        connection.execute(sa.text("update assignment_state set training_asked_at = now() - interval '601 seconds'"))
    assert office.training.start_due()
    assert len(office.runs.published) == 2


def test_a_failed_training_waits_for_feedback_and_not_for_beat(office: Office) -> None:
    office.hear(judgements(ENOUGH))
    assert office.training.start_due()
    office.runs.set_status(office.runs.published[-1], RunStatus.FAILED)
    assert not office.training.start_due()
    assert office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))["ml_status"] == "scheduled"
    assert len(office.runs.published) == 2


def test_feedback_is_kept_when_no_training_can_be_started(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TransientError("The queue is full.")

    office.hear(judgements(ENOUGH))
    monkeypatch.setattr(office.runs, "start_run", fail)
    answer = office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))
    assert (answer["ml_status"], answer["feedback_since_last_retrain"]) == ("skipped", ENOUGH + 1)


# --- the step ---


def test_feedback_during_a_training_counts_for_the_next_one(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.hear(judgements(ENOUGH))
    train = office.registry.train

    def interrupted(*given: object) -> object:
        office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))
        return train(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(office.registry, "train", interrupted)
    office.train()
    assert office.waiting() == 1
    assert office.training.start_due()


def test_a_training_that_is_killed_is_repeated_and_takes_its_feedback_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.hear(judgements(ENOUGH))
    assert office.training.start_due()
    [run_id] = office.runs.published
    consume = office.store.consume_feedback

    def die(connection: sa.Connection, used: int) -> None:
        consume(connection, used)
        raise Crashed

    with monkeypatch.context() as patched:
        patched.setattr(office.store, "consume_feedback", die)
        with pytest.raises(Crashed):
            office.runs.finish_run(run_id)
    assert (office.waiting(), office.versions()) == (ENOUGH, [])
    office.runs.finish_run(run_id)
    office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))
    again = office.training.train(Context(run_id, "train", []), {})
    assert (again["version"], office.waiting(), len(office.versions())) == ("assignment-1", 1, 1)


def test_a_run_that_is_not_the_newest_training_keeps_nothing(office: Office) -> None:
    office.hear(judgements(ENOUGH))
    assert office.training.start_due()
    office.runs.set_status(office.runs.published[-1], RunStatus.CANCELLED)
    office.service.record_feedback(Feedback("Lector", 1, Result.ACCEPTED))
    old, new = office.runs.published
    with pytest.raises(PersistentError, match="newest"):
        office.training.train(Context(old, "train", []), {})
    assert (office.versions(), office.waiting()) == ([], ENOUGH + 1)
    office.runs.finish_run(new)
    assert office.waiting() == 0


def test_a_training_sees_what_was_known_then_and_a_correction_as_a_pair() -> None:
    before, other = ({**features("Lector", person(i), facts_of(i), Record(1, 3))} for i in (1, 2))
    rows = build_rows([({"person": before, "alternative": other}, "corrigida", 5.0), ({}, "aceptada", 6.0)])
    assert (rows.columns["person_id"], rows.labels, rows.times_s) == ([1, 2], [0, 1], [5.0, 5.0])
    assert rows.columns["rate"] == [0.4, 0.4]
    assert rows.columns["role"] == ["Lector", "Lector"]


# --- what it says ---


def test_nothing_learned_leaves_the_formula_as_documented(office: Office) -> None:
    office.hear(judgements(60))
    assert_formula_alone(office)


def test_what_was_learned_joins_the_formula_with_its_weight_and_says_so(learned: Office) -> None:
    version, model = serving(learned)
    data = learned.service.assign_task(everybody())
    assert (data["model_version"], version.name) == ("assignment-1", "assignment-1")
    with learned.store.transaction() as connection:
        records = learned.store.read_records(connection, ["Lector"], range(PEOPLE))
    for entry in data["ranking"]:
        number = entry["person_id"]
        row = features("Lector", person(number), facts_of(number), records.get((number, "Lector"), Record()))
        part = model.weight * model.score(as_columns([row])).scores[0]
        assert 0 < part < model.weight
        assert entry["score"] == pytest.approx(by_formula(learned, number, "Lector") + part, abs=1e-6)
        assert f"expected to be accepted, learned ({part:+.3g})" in entry["reasons"]


def test_who_should_do_what_is_learned_for_each_role_and_also_for_strangers(learned: Office) -> None:
    _, model = serving(learned)
    for role in ROLES:
        strangers = [person(number) for number in range(1000, 1200)]
        scores = model.score(as_columns([features(role, who, who.facts(), Record()) for who in strangers])).scores
        pairs = list(zip(strangers, scores, strict=True))
        fit = [score for who, score in pairs if wanted(who.person_id, role) > 0.5]
        unfit = [score for who, score in pairs if wanted(who.person_id, role) < 0.5]
        assert fmean(fit) > fmean(unfit) + 0.2


def test_it_serves_because_held_out_feedback_is_ordered_better_with_it(learned: Office) -> None:
    [version] = learned.versions()
    assert version.metrics["order_with_formula"] > version.metrics["order_of_formula"]
    assert version.metrics["log_loss"] < version.metrics["baseline_log_loss"]
    assert version.metrics["formula_weight"] == serving(learned)[1].weight


def test_feedback_by_chance_teaches_nothing_that_serves(office: Office) -> None:
    office.hear(judgements(ENOUGH, by_chance=True))
    assert office.train().variables["training"]["status"] == "kept_previous"
    assert [version.status for version in office.versions()] == ["kept"]
    assert office.waiting() == 0
    assert_formula_alone(office)


def test_more_rest_never_hurts_whatever_the_feedback_says(office: Office) -> None:
    busy = judgements(ENOUGH)
    for known, result, _ in busy:  # here whoever is accepted has been busy: nobody is busy because of it
        for facts in known.values():
            facts["assignments_last_4w"] = 4 if result == "aceptada" else 0
    office.hear(busy)
    office.train()
    model = office.registry.serving("assignment").scorer
    if model is None:  # not promoted: read what was kept
        [version] = office.versions()
        model = AssignmentLearner().load(office.artifact(version).read_text())
    row = features("Lector", person(3), facts_of(3), Record(2, 4))
    for recent in (False, True):
        loads = [{**row, "assignments_last_4w": load, "assigned_last_week": recent} for load in range(10)]
        scores = model.score(as_columns(loads)).scores
        assert all(more >= less for more, less in itertools.pairwise(scores))
    free, last_week = model.score(as_columns([row, {**row, "assigned_last_week": True}])).scores
    assert free >= last_week


def test_an_explanation_adds_up_to_the_score(learned: Office) -> None:
    _, model = serving(learned)
    for number in range(5):
        row = {**features("Lector", person(number), facts_of(number), Record(3, 4)), "assignments_last_4w": 3}
        columns = as_columns([row])
        parts = model.explain({name: values[0] for name, values in columns.items()})
        assert sum(value for _, value in parts) == pytest.approx(model.score(columns).scores[0], abs=1e-9)


# --- what serves when something is wrong ---


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "weightless"])
def test_a_broken_artifact_leaves_the_formula_and_health_says_degraded(
    learned: Office, settings: Settings, damage: str
) -> None:
    [version] = learned.versions()
    path = learned.artifact(version)
    text = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        spoilt = {"cut": text[:-200], "foreign": '{"kind": "other"}', "weightless": text.replace("weight=", "weight=-")}
        path.write_text(spoilt[damage])
    assert_formula_alone(learned)
    report = build(settings).health.report().to_json()
    assert report["status"] == "degraded"
    assert any(warning.startswith("assignment-1 does not serve") for warning in report["warnings"])


def test_the_version_before_serves_in_place_of_a_broken_one(learned: Office) -> None:
    learned.hear(judgements(ENOUGH, seed=2))
    learned.train()
    newest = learned.versions()[0]
    if newest.status != "serving":
        pytest.fail(newest.reason)
    assert learned.service.assign_task(everybody())["model_version"] == "assignment-2"
    learned.artifact(newest).write_text("nothing")
    assert learned.service.assign_task(everybody())["model_version"] == "assignment-1"


def test_a_fault_of_the_learned_part_leaves_the_formula(learned: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("the mathematics are wrong")

    monkeypatch.setattr(AssignmentModel, "score", fail)
    assert_formula_alone(learned)


def test_every_process_notices_a_promotion_and_a_rollback(make: MakeOffice) -> None:
    trains, serves = make(), make()
    assert serves.service.assign_task(everybody())["model_version"] == "heuristic"
    trains.hear(judgements(ENOUGH))
    trains.train()
    assert serves.service.assign_task(everybody())["model_version"] == "assignment-1"
    trains.registry.roll_back("assignment")
    assert_formula_alone(serves)


def test_the_command_lists_it(learned: Office, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", settings.storage.database_url)
    monkeypatch.setenv("REDIS_URL", settings.storage.redis_url)
    monkeypatch.setenv("DATA_DIR", str(learned.data_dir))
    runner = CliRunner()
    listed = runner.invoke(main, ["scorers"], catch_exceptions=False)
    assert "assignment" in listed.output
    assert "serving" in listed.output
    rolled = runner.invoke(main, ["scorers", "rollback", "--scorer", "assignment"], catch_exceptions=False)
    assert "assignment-1 is withdrawn" in rolled.output
    assert_formula_alone(learned)
