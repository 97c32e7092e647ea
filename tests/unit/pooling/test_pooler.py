"""Batches of one vendor after another, looked after: none keeps the others waiting, and none is watched for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, cast

import pytest

from app.errors import PersistentError, TransientError
from app.gateway.model import BatchResult, BatchState, Blame, ChatAnswer, ChatRequest, Usage
from app.gateway.ports import BatchProvider
from app.pooling.model import PooledCall, VendorBatch
from app.pooling.service import Pooler
from app.pooling.store import PgPool
from app.providers.failures import marked

REQUEST = ChatRequest("openai", "m1", "fast_ai", ({"role": "user", "content": "hi"},), 10).to_json()
ANSWER = ChatAnswer("hello", "stop", "m1", "v", Usage(input_tokens=4, output_tokens=2))
SUBMITTED = VendorBatch(1, "openai", "m1", "mark", "batch_1", 1, False, False, False)


def item(number: int) -> PooledCall:
    return PooledCall(number, "run", f"step{number}", 1, "fast_ai", REQUEST, Decimal("0.5"))


@dataclass
class MemoryPool:
    """What `PgPool` keeps, in memory; a batch is due once a pass."""

    batches: list[VendorBatch]
    items: dict[int, list[PooledCall]]
    due: list[VendorBatch] = field(default_factory=list)
    later: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    stopping: list[int] = field(default_factory=list)

    def form_batches(self) -> list[PooledCall]:
        self.due = [batch for batch in self.batches if batch.batch_id not in self.ended]
        return []

    def take_due(self) -> VendorBatch | None:
        return self.due.pop(0) if self.due else None

    def read_items(self, batch_id: int) -> list[PooledCall]:
        return self.items[batch_id]

    def look_later(self, batch_id: int, in_s: float | None = None, error: str | None = None) -> None:
        del in_s, error
        self.later.append(batch_id)

    def note_stopping(self, batch_id: int) -> None:
        self.stopping.append(batch_id)

    def end(self, batch_id: int, error: str | None = None) -> None:
        del error
        self.ended.append(batch_id)


@dataclass
class EndedBatches:
    """A vendor all of whose batches have ended.

    Args:
        results: by batch; an error is raised.
        ended: what it says of every batch.
    """

    results: Mapping[str, list[BatchResult] | Exception]
    ended: bool = True
    name: str = "openai"

    async def read_batch(self, batch_id: str) -> BatchState:
        return BatchState(batch_id, self.ended)

    async def read_results(self, batch_id: str) -> list[BatchResult]:
        found = self.results[batch_id]
        if isinstance(found, Exception):
            raise found
        return found


class World:
    """A pooler and what it wrote."""

    def __init__(self, vendor: EndedBatches, *batches: VendorBatch, cost: Decimal | None = Decimal("0.1")) -> None:
        self.pool = MemoryPool(list(batches), {batch.batch_id: [item(batch.batch_id)] for batch in batches})
        self.written: list[dict[str, Any]] = []
        providers = {"openai": cast("BatchProvider", vendor)}
        self.pooler = Pooler(cast("PgPool", self.pool), providers, self._write, lambda *_: cost, every_s=1)

    async def _write(self, operation: Any) -> dict[str, Any]:
        self.written.append(dict(operation))
        return {}

    def make_pass(self) -> None:
        asyncio.run(self.pooler.make_pass())

    @property
    def settled(self) -> dict[str, str]:
        return {one["key"]: one["status"] for one in self.written if one["op"] == "answer_call"}


def brought(number: int, answer: ChatAnswer = ANSWER) -> list[BatchResult]:
    return [BatchResult(item(number).name, answer=answer)]


def test_a_batch_that_cannot_be_read_does_not_keep_others_from_their_answers() -> None:
    vendor = EndedBatches({"batch_1": KeyError("id"), "batch_2": brought(2)})
    world = World(vendor, SUBMITTED, replace(SUBMITTED, batch_id=2, vendor_id="batch_2"))

    world.make_pass()

    assert world.settled == {"step2": "answered"}
    assert (world.pool.later, world.pool.ended) == ([1], [2])


@pytest.mark.parametrize(
    "error",
    [
        marked(PersistentError("kept no longer", code="results_gone"), blame=Blame.NONE),
        marked(PersistentError("no such file", code="http_404", status=404), blame=Blame.NONE),
    ],
    ids=["archived", "missing"],
)
def test_answers_that_are_gone_count_as_paid_and_free_their_steps_at_once(error: PersistentError) -> None:
    world = World(EndedBatches({"batch_1": error}), SUBMITTED)

    world.make_pass()

    assert world.settled == {"step1": "unknown"}
    assert world.pool.ended == [1]
    assert {"op": "wake", "run": "run", "key": "step1"} in world.written


def test_a_refused_key_is_waited_for_while_there_is_time() -> None:
    refused = marked(PersistentError("no", code="auth", status=401), blame=Blame.PROVIDER)
    patient, over = World(EndedBatches({"batch_1": refused}), SUBMITTED), replace(SUBMITTED, is_given_up=True)
    patient.make_pass()
    assert (patient.pool.later, patient.settled) == ([1], {})

    late = World(EndedBatches({"batch_1": refused}), over)
    late.make_pass()
    assert late.settled == {"step1": "unknown"}


def test_a_batch_that_does_not_end_is_given_up_when_its_time_is_over() -> None:
    world = World(EndedBatches({}, ended=False), replace(SUBMITTED, is_late=True, is_given_up=True))

    world.make_pass()

    assert world.settled == {"step1": "unknown"}


def test_an_answer_whose_price_nobody_knows_any_more_costs_what_was_set_aside() -> None:
    world = World(EndedBatches({"batch_1": brought(1)}), SUBMITTED, cost=None)

    world.make_pass()

    (answered,) = [one for one in world.written if one["op"] == "answer_call"]
    assert (answered["status"], answered["cost_usd"]) == ("answered", "0.5")


@pytest.mark.parametrize(("sent", "status"), [(True, "unknown"), (False, "failed")])
def test_an_item_that_failed_costs_nothing_unless_the_vendor_may_charge(status: str, *, sent: bool) -> None:
    error = marked(TransientError("unreadable"), sent=sent)
    world = World(EndedBatches({"batch_1": [BatchResult(item(1).name, error=error)]}), SUBMITTED)

    world.make_pass()

    assert world.settled == {"step1": status}


def test_an_answer_wins_over_an_error_of_the_same_name() -> None:
    error = BatchResult(item(1).name, error=marked(TransientError("late")))
    world = World(EndedBatches({"batch_1": [*brought(1), error]}), SUBMITTED)

    world.make_pass()

    assert world.settled == {"step1": "answered"}


def test_an_answer_to_a_question_nobody_asked_is_left_and_one_that_is_missing_is_told() -> None:
    world = World(EndedBatches({"batch_1": [BatchResult("item-99", answer=ANSWER)]}), SUBMITTED)

    world.make_pass()

    assert world.settled == {"step1": "failed"}
    assert world.pool.ended == [1]
