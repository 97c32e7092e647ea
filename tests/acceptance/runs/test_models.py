"""Model steps and callbacks through real workers, to the simulator."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.runs.model import RunStatus
from app.schema import ROOT
from simulator import Simulator
from tests.engine.documents import inline, linear, tool
from tests.engine.promises import hold_promises
from tests.engine.trial import Trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]
CHAT = "/openai/v1/chat"


@pytest.fixture
def asking(trial: Trial, simulator: Simulator) -> Trial:
    """A system whose models and callbacks are the simulator's."""
    trial.workers.add(
        OPENAI_BASE_URL=simulator.openai_url,
        OPENAI_API_KEY="sk-of-the-simulator",
        CALLBACK_ALLOWED_HOSTS="127.0.0.1",
        CALLBACK_SECRET="a secret of sixteen characters or more",
    )
    trial.workers.start()
    return trial


def ask(key: str, prompt: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "model": "fast_ai", "prompt": prompt, "output_variable": key, **more}


def asked(simulator: Simulator, prompt: str) -> int:
    """How often the vendor saw a question; explanations of failed steps, which quote it, left out."""
    return sum(entry["body"]["messages"][-1]["content"] == prompt for entry in simulator.log(CHAT))


def test_an_answer_with_what_jsonb_refuses_is_kept_and_paid_for_once(asking: Trial, simulator: Simulator) -> None:
    simulator.answer(content="a\x00b and half a pair \ud83d")
    view = asking.run([inline(ask("m", "Say something odd."), tool("echo", "e", got="{m}"))])
    hold_promises(asking, view.run_id)
    assert view.steps[1].output == {"got": "a�b and half a pair �"}
    assert simulator.count(CHAT) == 1
    assert view.cost_usd > 0
    assert view.cost_usd == view.steps[0].cost_usd


def test_a_retry_of_a_run_asks_no_model_again_that_answered(asking: Trial, simulator: Simulator) -> None:
    blocks = [
        linear(
            ask("m", "A question that is paid for."),
            tool("flaky", "f", works_at=2, error="fatal", output_variable_="f"),
        ),
        inline(tool("echo", "e", both=["{m}", "{f}"])),
    ]
    view = asking.run(blocks)
    assert view.status is RunStatus.PARTIAL
    asking.runs.retry_run(view.run_id, owner="tester")
    again = asking.finish(view.run_id)
    assert again.status is RunStatus.COMPLETED
    assert again.cost_usd == view.cost_usd
    assert asked(simulator, "A question that is paid for.") == 1


def test_a_run_over_its_cap_pauses_asks_nobody_and_goes_on_after_a_top_up(asking: Trial, simulator: Simulator) -> None:
    run_id = asking.start([inline(ask("m", "Expensive?"), tool("mark", "after"))], max_cost_usd="0.0000001")
    asking.await_status(run_id, "paused_budget")
    assert asking.runs.wait_for_end(run_id, 30) is None
    assert simulator.count(CHAT) == 0
    assert asking.view(run_id).cost_usd == 0
    asking.runs.set_budget(run_id, Decimal(1), owner="tester")
    assert asking.finish(run_id).status is RunStatus.COMPLETED
    assert simulator.count(CHAT) == 1
    hold_promises(asking, run_id)


def test_a_model_that_is_not_there_for_a_moment_is_asked_again_and_only_answers_are_paid(
    asking: Trial, simulator: Simulator
) -> None:
    simulator.fault(CHAT, status=503, times=1)
    view = asking.run([inline(ask("m", "Once more?"))])
    assert view.status is RunStatus.COMPLETED
    statuses = asking.ask("select status, cost_usd from calls order by ordinal")
    assert statuses[-1][0] == "answered"
    assert view.cost_usd == sum(cost or 0 for _, cost in statuses)


def test_the_registry_file_says_how_often_a_class_of_errors_is_tried(
    trial: Trial, simulator: Simulator, tmp_path: Path
) -> None:
    registry = json.loads((ROOT / "orchestration_config.json").read_text())
    registry["error_handling"] |= {"tries": {"transient": 2}, "retry": {"base_ms": 10, "max_ms": 20, "factor": 2}}
    own = tmp_path / "models.json"
    own.write_text(json.dumps(registry))
    trial.workers.add(
        OPENAI_BASE_URL=simulator.openai_url, OPENAI_API_KEY="sk-of-the-simulator", ORCHESTRATION_CONFIG=str(own)
    )
    trial.workers.start()
    simulator.fault(CHAT, status=503, times=None)
    view = trial.run([inline(ask("m", "Nobody there?"))])
    assert view.status is RunStatus.FAILED
    assert asked(simulator, "Nobody there?") == 2


def test_the_same_question_within_its_time_is_answered_without_a_call_and_says_so(
    asking: Trial, simulator: Simulator
) -> None:
    blocks = [inline(ask("m", "Ever the same?", config={"cache": {"ttl_s": 60}}), tool("echo", "e", got="{m}"))]
    first, again = asking.run(blocks), asking.run(blocks)
    assert asked(simulator, "Ever the same?") == 1
    assert [view.steps[0].cached for view in (first, again)] == [False, True]
    assert again.steps[1].output == first.steps[1].output
    assert (again.cost_usd, again.tokens) == (Decimal(0), 0)
    assert asking.ask("select count(*) from calls where run_id = :run", run=again.run_id) == [(0,)]
    hold_promises(asking, again.run_id)


def test_the_end_of_a_run_is_called_back_by_a_worker(asking: Trial, simulator: Simulator) -> None:
    url = f"{simulator.base_url}/callbacks/done"
    view = asking.run([inline(tool("mark", "a", output_variable_="v"))], callback_url=url)
    asking.await_that(lambda: simulator.count("/callbacks/done") == 1, 20)
    [request] = simulator.log("/callbacks/done")
    assert request["body"]["task_id"] == view.run_id
    assert request["body"]["result"] == {"v": "a"}
    assert request["headers"]["x-batuta-signature"].startswith("sha256=")
