"""Our side of the users' three services, against the simulator that speaks their wire."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import LogicalError, PersistentError, ResourceError, StepError, TransientError
from app.studio.model import Structure
from app.studio.ports import IdeaRequest, Known, PromptRequest
from app.studio.remote import RemoteGenerator, RemoteOptimizer, RemoteStrategist, ServiceWire, read_retry_after
from simulator import Simulator
from tests.integration.studio.harness import MakeStudio

KNOWN = Known((Structure("7", "x", record_id="recStructure00001"),), {"7": 0.8})
STRATEGIST, GENERATOR, OPTIMIZER = (
    "/strategist/api/batch/run",
    "/generator/generate-prompts",
    "/optimizer/score_structures",
)


def wire(simulator: Simulator, name: str, **changes: Any) -> ServiceWire:
    values: dict[str, Any] = {"timeout_s": 5.0, "warmup_timeout_s": 2.0, "pause": lambda _: None, **changes}
    return ServiceWire(name.capitalize(), f"{simulator.base_url}/{name}", **values)


def ask_ideas(simulator: Simulator, **changes: Any) -> Any:
    request = IdeaRequest(5, "seed", KNOWN, 0.2)
    return RemoteStrategist(wire(simulator, "strategist", **changes)).propose_ideas(request)


def ask_prompts(simulator: Simulator, count: int = 3, **changes: Any) -> Any:
    request = PromptRequest(count, 10, 12, "seed", "Recraft", KNOWN, 0.2)
    return RemoteGenerator(wire(simulator, "generator", **changes)).make_prompts(request)


def ask_scores(simulator: Simulator, **changes: Any) -> Any:
    return RemoteOptimizer(wire(simulator, "optimizer", **changes)).score_structures()


def test_the_strategist_gets_what_each_of_its_versions_reads_and_is_woken_first(simulator: Simulator) -> None:
    answer = ask_ideas(simulator)
    assert (answer.total, len(answer.ideas)) == (5, 5)
    assert {idea.parent for idea in answer.ideas} == {"1"}
    assert [entry["path"] for entry in simulator.log("/strategist")] == ["/strategist/api/health", STRATEGIST]
    assert simulator.log(STRATEGIST)[0]["body"] == {
        "optimizer_scores": {"7": 0.8},
        "exploration_rate": 0.2,
        "num_ideas": 5,
    }


def test_ideas_that_are_counted_but_not_shown_are_believed(simulator: Simulator) -> None:
    simulator.fault(STRATEGIST, status=200, body={"totalGenerated": 4})
    assert (ask_ideas(simulator).total, ask_ideas(simulator).ideas != ()) == (4, True)


def test_a_service_that_sleeps_is_woken_twice_and_then_asked_all_the_same(simulator: Simulator) -> None:
    simulator.fault("/strategist/api/health", drop="before", times=2)
    pauses: list[float] = []
    assert ask_ideas(simulator, pause=pauses.append).total == 5
    assert pauses == [5.0]
    assert simulator.count("/strategist/api/health") == 2


def test_a_health_that_is_not_200_is_asked_again_without_a_pause(simulator: Simulator) -> None:
    simulator.fault("/generator/health", status=503, times=1)
    pauses: list[float] = []
    assert RemoteGenerator(wire(simulator, "generator", pause=pauses.append)).warm_up()
    assert pauses == []
    simulator.fault("/generator/health", status=503, times=2)
    assert not RemoteGenerator(wire(simulator, "generator")).warm_up()


@pytest.mark.parametrize(
    ("settings", "code"), [({"disabled": True}, "service_disabled"), ({"settings_missing": True}, "service_unset")]
)
def test_a_strategist_that_refuses_says_why_in_plain_words(
    simulator: Simulator, settings: dict[str, Any], code: str
) -> None:
    simulator.configure(strategist=settings)
    with pytest.raises(PersistentError) as caught:
        ask_ideas(simulator)
    assert caught.value.code == code


def test_prompts_are_records_with_what_we_know_of_their_ids(simulator: Simulator) -> None:
    first, *_ = drafts = ask_prompts(simulator)
    assert [draft.place for draft in drafts] == [10, 11, 12]
    assert {draft.renderer for draft in drafts} == {"Recraft"}
    assert (first.structure_id, first.structure_record_id) == ("7", "recStructure00001")
    assert first.designer is not None
    assert first.designer.record_id.startswith("recDesigner")
    assert (drafts[1].structure_id, drafts[1].structure_record_id) == (None, "recStructure00002")


def test_prompts_may_be_bare_texts_and_get_the_renderer_that_was_asked_for(simulator: Simulator) -> None:
    simulator.configure(generator={"as_text": True})
    drafts = ask_prompts(simulator)
    assert [draft.renderer for draft in drafts] == ["Recraft"] * 3
    assert all(draft.text.startswith("Prompt ") for draft in drafts)


def test_fewer_prompts_than_asked_are_taken_and_more_are_cut(simulator: Simulator) -> None:
    simulator.configure(generator={"short_by": 1})
    assert len(ask_prompts(simulator)) == 2
    simulator.fault(GENERATOR, status=200, body={"prompts": [f"p{n}" for n in range(30)]})
    assert len(ask_prompts(simulator)) == 3


def test_scores_come_with_ids_as_texts_and_the_version_of_their_model(simulator: Simulator) -> None:
    answer = ask_scores(simulator)
    assert answer.scores == {"1": 0.81, "2": 0.44, "3": 0.27}
    assert answer.model_version.startswith("optimizer 20")


def test_an_optimizer_without_a_model_says_so(simulator: Simulator) -> None:
    body = {
        "structures": [{"structure_id": 1, "predicted_success_score": 0.5}],
        "model_metadata": None,
        "warning": "no model",
    }
    simulator.fault(OPTIMIZER, status=200, body=body)
    answer = ask_scores(simulator)
    assert (answer.model_version, answer.note) == ("optimizer", "scores: the Optimizer has no trained model yet")


def test_scores_out_of_range_or_unreadable_do_no_harm(simulator: Simulator) -> None:
    rows: list[Any] = [
        {"structure_id": 1, "predicted_success_score": 1.7},
        {"structure_id": 2, "predicted_success_score": "high"},
        {"structure_id": None, "predicted_success_score": 0.5},
        "row",
    ]
    simulator.fault(OPTIMIZER, status=200, body={"structures": rows})
    assert ask_scores(simulator).scores == {"1": 1.0}


ASKED = [
    (ask_ideas, STRATEGIST, "Strategist"),
    (ask_prompts, GENERATOR, "Generator"),
    (ask_scores, OPTIMIZER, "Optimizer"),
]
FAULTS: list[tuple[dict[str, Any], type[StepError], bool | None]] = [
    ({"status": 500, "body": {"error": "connect ECONNREFUSED 10.0.0.7:5432"}}, TransientError, False),
    ({"status": 503, "body": "sleeping"}, TransientError, False),
    ({"status": 429, "retry_after": 7}, TransientError, False),
    ({"status": 400, "body": {"error": "bad at http://10.0.0.7/x"}}, PersistentError, False),
    ({"status": 401}, PersistentError, False),
    ({"status": 404}, PersistentError, False),
    ({"status": 301, "headers": {"Location": "https://elsewhere.example/"}}, PersistentError, False),
    ({"status": 200, "body": "<html>"}, LogicalError, True),
    ({"status": 200, "body": []}, LogicalError, True),
    ({"drop": "before"}, TransientError, None),
    ({"drop": "during"}, TransientError, None),
    ({"delay_s": 1.5}, ResourceError, None),
]


@pytest.mark.parametrize(("ask", "route", "title"), ASKED)
@pytest.mark.parametrize(("fault", "error", "executed"), FAULTS)
def test_every_failure_is_a_steps_error_in_plain_words(
    simulator: Simulator,
    ask: Any,
    route: str,
    title: str,
    fault: dict[str, Any],
    error: type[StepError],
    executed: bool | None,  # noqa: FBT001 - a column of the table above
) -> None:
    simulator.fault(route, **fault)
    with pytest.raises(error) as caught:
        ask(simulator, timeout_s=0.7)
    assert caught.value.details["executed"] is executed
    assert title in caught.value.message
    shown = str(caught.value) + repr(caught.value.details)
    assert "127.0.0.1" not in shown
    assert "10.0.0.7" not in shown
    assert simulator.count(route) == 1


def test_what_a_busy_service_asks_us_to_wait_is_kept(simulator: Simulator) -> None:
    simulator.fault(GENERATOR, status=429, retry_after=7)
    with pytest.raises(TransientError) as caught:
        ask_prompts(simulator)
    assert caught.value.retry_after_s == 7


def test_a_retry_after_may_be_a_date_or_nonsense() -> None:
    assert read_retry_after("Fri, 20 Nov 2020 06:00:00 GMT") == 0
    assert read_retry_after("soon") is None
    assert read_retry_after(None) is None


def test_a_service_that_is_not_there_has_done_nothing() -> None:
    gone = ServiceWire("Generator", "http://127.0.0.1:9", 1.0)
    with pytest.raises(TransientError) as caught:
        gone.post("/generate-prompts", {})
    assert caught.value.details["executed"] is False


def test_a_whole_batch_over_all_three_services(simulator: Simulator, make_studio: MakeStudio) -> None:
    studio = make_studio(
        optimizer_url=f"{simulator.base_url}/optimizer",
        strategist_url=f"{simulator.base_url}/strategist",
        generator_url=f"{simulator.base_url}/generator",
        warms_up=True,
    )
    answer = studio.run_daily(num_ideas=5, num_prompts=12, renderer="Recraft")
    assert answer["error"] is None
    assert (answer["ideas_generated"], answer["prompts_generated"], answer["degraded"]) == (5, 12, [])
    sizes = sorted(entry["body"]["num_prompts"] for entry in simulator.log(GENERATOR))
    assert sizes == [2, 10]
    assert simulator.count("/generator/health") == 1
    assert studio.service.scores()["scores"] == {"1": 0.81, "2": 0.44, "3": 0.27}


def test_a_switched_off_strategist_and_a_broken_slice_leave_the_rest(
    simulator: Simulator, make_studio: MakeStudio
) -> None:
    simulator.configure(strategist={"disabled": True})
    simulator.fault(GENERATOR, match={"num_prompts": 2}, status=400, times=None)
    studio = make_studio(
        strategist_url=f"{simulator.base_url}/strategist",
        generator_url=f"{simulator.base_url}/generator",
        warms_up=True,
    )
    answer = studio.run_daily()
    assert (answer["success"], answer["ideas_generated"], answer["prompts_generated"]) == (True, 0, 10)
    assert answer["error"] == (
        "Ideas: The Strategist is switched off in its own settings. "
        "2 of 12 prompts are missing: The Generator refused the request (400)."
    )
