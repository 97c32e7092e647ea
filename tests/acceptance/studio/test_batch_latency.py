"""The scheduled batch in no hurry: its questions go to the vendor's batches, and live where those take too long."""

from __future__ import annotations

from typing import Any

import pytest

from app.gateway.model import Usage
from app.gateway.prices import MILLIONTH, cost_usd
from app.runs.model import RunView
from app.studio.batch import answer_daily_batch
from tests.acceptance.studio.conftest import CALLS, Making, idea, places

PATIENT = {
    "STUDIO_LATENCY": "batch",
    "BATCH_CRON": "* * * * *",
    "DEFAULT_BATCH_IDEAS": "1",
    "DEFAULT_NUM_PROMPTS": "12",
    "VENDOR_BATCH_GATHER_S": "0.5",
    "VENDOR_BATCH_POLL_S": "0.3",
    "VENDOR_BATCH_LIVE_AFTER_S": "3600",
}
HURRIED = {**PATIENT, "VENDOR_BATCH_LIVE_AFTER_S": "4", "VENDOR_BATCH_MARGIN_S": "2"}
BATCHES = f"{CALLS}/batches"
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")


def run_scheduled(making: Making) -> tuple[dict[str, Any], RunView]:
    making.propose(*map(idea, places(1)))
    making.write_well()
    batch = making.trial.application.studio.start_due_batch()
    assert batch is not None
    view = making.trial.finish(batch.run_id)
    return answer_daily_batch(view), view


def asked_live(making: Making) -> int:
    return sum(entry["path"] == CALLS for entry in making.simulator.log(CALLS, "POST"))


def hold_half_price(making: Making, run_id: str) -> None:
    names = ", ".join(COUNTS)
    rows = making.trial.ask(f"select model, cost_usd, {names} from calls where run_id = :run", run=run_id)
    assert len(rows) == 3
    for model, paid_usd, *counts in rows:
        offers = making.trial.application.registry.find(model).offers
        [prices] = [offer.prices for offer in offers if offer.provider == "anthropic"]
        live_usd = cost_usd(prices, Usage(**dict(zip(COUNTS, counts, strict=True))))
        assert paid_usd > 0
        assert abs(live_usd - 2 * paid_usd) <= MILLIONTH  # each is rounded, and once


@pytest.mark.parametrize("making", [PATIENT], indirect=True, ids=["patient"])
def test_the_scheduled_batch_asks_through_vendors_batches_at_half_the_price(making: Making) -> None:
    answer, view = run_scheduled(making)
    assert (answer["ideas_generated"], answer["prompts_generated"], answer["error"]) == (1, 12, None)
    assert asked_live(making) == 0
    submitted = [entry for entry in making.simulator.log(BATCHES, "POST") if entry["path"] == BATCHES]
    assert [len(entry["body"]["requests"]) for entry in submitted] == [1, 2]  # the ideas, then all slices together
    manual = making.generate(num_prompts=2)
    assert manual["prompts_generated"] == 2
    assert asked_live(making) == 1
    hold_half_price(making, view.run_id)


@pytest.mark.parametrize("making", [HURRIED], indirect=True, ids=["hurried"])
def test_what_a_batch_does_not_answer_in_time_is_asked_live(making: Making) -> None:
    making.simulator.configure(anthropic={"batch_delay_s": 600})
    answer, _ = run_scheduled(making)
    assert (answer["ideas_generated"], answer["prompts_generated"], answer["error"]) == (1, 12, None)
    assert asked_live(making) == 3
