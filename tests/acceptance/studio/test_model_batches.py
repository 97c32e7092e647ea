"""Ideas and prompts by models, from the request to the rows."""

from __future__ import annotations

from app.runs.model import RunStatus
from tests.acceptance.studio.conftest import GENERATOR, PLACES, STRATEGIST, Making, idea


def test_models_make_a_batch_and_its_cost_is_the_batchs(making: Making) -> None:
    making.propose(*(idea(place) for place in PLACES[:2]))
    making.write_well()
    answer, view = making.run(num_ideas=2, num_prompts=12)
    assert view.status is RunStatus.COMPLETED
    assert (answer["ideas_generated"], answer["prompts_generated"], answer["error"]) == (2, 12, None), answer
    assert answer["degraded"] == ["scores: like rates, smoothed; no learned scorer is used"]
    assert len(making.asked(STRATEGIST)) == 1
    assert len(making.asked(GENERATOR)) == 3  # two slices, and what warmed the cache for both
    [[spent]] = making.trial.ask("select sum(cost_usd) from calls where run_id = :run", run=view.run_id)
    assert view.cost_usd == spent > 0
    [ideas] = [step.output for step in view.steps if step.key == "ideas"]
    assert [one["rationale"] for one in ideas["ideas"]] == [f"It takes the warm garment to {p}." for p in PLACES[:2]]
    assert ideas["source"] == "thinking_ai"
    kept = making.trial.ask("select source, structure_id is not null, propensity > 0 from prompts")
    assert kept == [("model", True, True)] * 12
    assert making.trial.ask("select source, parent, status from ideas") == [("model", "3", "proposed")] * 2
