"""A learning cycle over the users' services and Airtable, against the simulator that speaks their wires."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import PersistentError, StepError, TransientError
from app.studio.assembly import build_makers
from app.studio.model import Structure
from app.studio.remote import RemoteGenerator, RemoteOptimizer
from simulator import Simulator
from tests.contract.studio.test_airtable import STRUCTURE_FIELDS, MakeBase, client, make_base, records
from tests.contract.studio.test_services import wire
from tests.integration.studio.harness import MakeStudio, Studio

__all__ = ["client", "make_base"]  # fixtures

TRAIN, SCORE, INSIGHTS = "/optimizer/train", "/optimizer/score_structures", "/optimizer/structure_prompt_insights"
UPDATE = "/generator/update_preferences"


def optimizer(simulator: Simulator) -> RemoteOptimizer:
    return RemoteOptimizer(wire(simulator, "optimizer"))


def test_a_training_that_succeeded_brings_its_numbers(simulator: Simulator) -> None:
    answer = optimizer(simulator).train()
    assert (answer.status, answer.metrics["training_samples"]) == ("trained", 240)
    assert simulator.log(TRAIN)[0]["body"] == {}


def test_a_training_that_was_skipped_is_no_training_though_it_answers_200(simulator: Simulator) -> None:
    simulator.fault(TRAIN, status=200, body={"status": "skipped", "reason": "only 40 samples"})
    answer = optimizer(simulator).train()
    assert (answer.status, answer.reason) == ("skipped", "The Optimizer skipped the training: only 40 samples")


@pytest.mark.parametrize("body", [{"status": "error", "error": "http://10.0.0.7 broke"}, {"status": "started"}, {}])
def test_a_training_that_failed_is_an_error_though_it_answers_200(simulator: Simulator, body: dict[str, Any]) -> None:
    simulator.fault(TRAIN, status=200, body=body)
    with pytest.raises(PersistentError) as raised:
        optimizer(simulator).train()
    assert "10.0.0.7" not in str(raised.value)


def test_a_training_that_answers_500_may_be_tried_again(simulator: Simulator) -> None:
    simulator.fault(TRAIN, status=500)
    with pytest.raises(TransientError):
        optimizer(simulator).train()


def test_insights_that_are_not_computed_are_none(simulator: Simulator) -> None:
    simulator.fault(INSIGHTS, status=200, body={"status": "not_computed", "message": "train first"})
    assert optimizer(simulator).read_insights() is None
    assert optimizer(simulator).read_insights()


def test_the_generator_says_how_many_scores_it_took(simulator: Simulator) -> None:
    preferences = {
        "global_preference_vector": {"red": 0.8},
        "exploration_rate": 0.2,
        "structure_scores": {"rec1": 0.7, "2": 0.1},
        "structure_prompt_insights": {},
    }
    assert RemoteGenerator(wire(simulator, "generator")).update_preferences(preferences) == 2
    assert simulator.log(UPDATE)[0]["body"] == preferences


def test_a_generator_that_refuses_the_scores_is_an_error(simulator: Simulator) -> None:
    simulator.fault(UPDATE, status=422, body={"detail": "no"})
    with pytest.raises(StepError):
        RemoteGenerator(wire(simulator, "generator")).update_preferences({"structure_scores": {}})


@pytest.fixture
def remote(make_studio: MakeStudio, simulator: Simulator) -> Studio:
    """A studio whose Optimizer and Generator are services."""
    urls = {name: f"{simulator.base_url}/{name.removesuffix('_url')}" for name in ("optimizer_url", "generator_url")}
    studio = make_studio(like_threshold=2, **urls)
    studio.store.catalogue.put_structures([Structure("1", "a coat", record_id="recStructure00001")])
    return studio


def like(studio: Studio, count: int) -> None:
    for at in range(count):
        studio.service.record_like({"record_id": f"rec{at}"})


def test_a_cycle_goes_over_the_users_services_and_hands_record_ids_to_the_generator(
    remote: Studio, simulator: Simulator
) -> None:
    like(remote, 2)
    assert next(iter(remote.runs.requests.values())).queues == {}
    assert remote.run_cycle()["status"] == "trained"
    [told] = [entry["body"] for entry in simulator.log(UPDATE)]
    assert told["exploration_rate"] == 0.2
    assert "recStructure00001" in told["structure_scores"]
    assert "1" not in told["structure_scores"]
    assert told["global_preference_vector"]
    assert told["structure_prompt_insights"]
    assert remote.service.status()["total_retrains"] == 1
    assert "1" in remote.service.scores()["scores"]


def test_a_skipped_training_of_the_optimizer_uses_no_like(remote: Studio, simulator: Simulator) -> None:
    simulator.fault(TRAIN, status=200, body={"status": "skipped", "reason": "too few"})
    like(remote, 2)
    assert remote.run_cycle()["status"] == "skipped"
    assert simulator.log(UPDATE) == []
    status = remote.service.status()
    assert (status["likes_since_last_retrain"], status["total_retrains"]) == (2, 0)


def test_an_error_of_the_optimizers_training_fails_the_cycle(remote: Studio, simulator: Simulator) -> None:
    simulator.fault(TRAIN, status=200, body={"status": "error", "error": "boom"})
    like(remote, 2)
    assert remote.run_cycle()["status"] == "failed"
    assert remote.service.status()["last_error"] == "Training: The Optimizer's training failed."


def test_a_generator_that_is_away_is_said_and_the_training_counts(remote: Studio, simulator: Simulator) -> None:
    simulator.fault(UPDATE, status=500, times=10)
    like(remote, 2)
    assert remote.run_cycle()["status"] == "trained"
    status = remote.service.status()
    assert (status["total_retrains"], status["last_error"]) == (
        1,
        "Generator: The Generator answered with an error (500).",
    )


def test_insights_that_fail_are_done_without(remote: Studio, simulator: Simulator) -> None:
    simulator.fault(INSIGHTS, status=404)
    like(remote, 2)
    assert remote.run_cycle()["status"] == "trained"
    assert simulator.log(UPDATE)[0]["body"]["structure_prompt_insights"] == {}


def test_makers_know_the_patience_of_a_training_and_of_an_update(make_studio: MakeStudio, remote: Studio) -> None:
    made = build_makers(remote.service._setup.settings)
    assert isinstance(made.optimizer, RemoteOptimizer)
    assert made.optimizer._training.timeout_s == 600
    assert isinstance(made.generator, RemoteGenerator)
    assert made.generator._preferences is not None
    assert made.generator._preferences.timeout_s == 30


def base_of(count: int) -> dict[str, Any]:
    """A table of structures that were liked and shown before; half of them much, half little."""
    rows = [
        {"Structure ID": at, "Skeleton": f"look {at}", "outlier_count": 12 - 10 * (at % 2), "usage_count": 20}
        for at in range(count)
    ]
    return {"tables": {"Structures": {"fields": STRUCTURE_FIELDS, "records": rows}}}


def test_scores_reach_airtable_by_record_ids_in_lots_of_ten(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base(**base_of(23)), like_threshold=2)
    studio.service.sync_structures()
    like(studio, 2)
    assert studio.run_cycle()["status"] == "trained"
    lots = [len(entry["body"]["records"]) for entry in simulator.log("/airtable", "PATCH")]
    assert lots == [10, 10, 3]
    scores = studio.service.scores()["scores"]
    written = {str(row["Structure ID"]): row["optimizer_score"] for row in records(simulator, "Structures")}
    assert written == pytest.approx(scores)
    assert scores["0"] > scores["1"]


def test_a_record_that_is_gone_costs_only_its_own_score(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base(**base_of(12)), like_threshold=2)
    studio.service.sync_structures()
    studio.store.catalogue.put_structures([Structure("99", "gone", record_id="recGone0000000001")])
    like(studio, 2)
    assert studio.run_cycle()["status"] == "trained"
    assert studio.service.status()["last_error"] == "Airtable: 1 of 13 scores were refused."
    assert all("optimizer_score" in row for row in records(simulator, "Structures"))
    assert studio.service.status()["total_retrains"] == 1


def test_a_key_that_may_not_write_scores_is_said_after_one_lot(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base(**base_of(23)), like_threshold=2)
    studio.service.sync_structures()
    simulator.fault("/airtable/v0/appStudio/Structures", status=403, body={"error": "NO"}, times=50)
    like(studio, 2)
    assert studio.run_cycle()["status"] == "trained"
    assert len(simulator.log("/airtable", "PATCH")) == 1
    assert "AIRTABLE_API_KEY" in studio.service.status()["last_error"]


def test_an_airtable_that_is_away_is_said_and_the_training_counts(
    make_base: MakeBase, make_studio: MakeStudio, simulator: Simulator
) -> None:
    studio = make_studio(base=make_base(**base_of(12)), like_threshold=2)
    studio.service.sync_structures()
    simulator.fault("/airtable/v0/appStudio/Structures", status=503, times=50)
    like(studio, 2)
    assert studio.run_cycle()["status"] == "trained"
    assert "Airtable" in studio.service.status()["last_error"]
