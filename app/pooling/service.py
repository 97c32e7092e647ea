"""Look after the vendors' batches: close them, hand them in, watch them, bring their answers to the steps.

Every worker does so now and then, each batch one worker at a time; whoever dies at it is followed by another as soon as
its lease ends. What a batch does not bring in time is asked live.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from app.errors import PersistentError, StepError, TransientError
from app.gateway.model import BatchItem, BatchResult, ChatRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from decimal import Decimal

    from app.gateway.model import ChatAnswer
    from app.gateway.ports import BatchProvider
    from app.pooling.model import PooledCall, VendorBatch
    from app.pooling.store import PgPool
    from app.runs.journal import Operation

    Write = Callable[[Operation], Awaitable[dict[str, Any]]]
    CostOf = Callable[[str, ChatRequest, ChatAnswer], Decimal | None]

logger = logging.getLogger(__name__)

MOST_TRIES = 5
MISSED = "batch_missed"
GONE = "results_gone"
AWAY_S = 5.0


class Pooler:
    """Does one pass after the other on a worker's loop.

    Args:
        pool: questions and batches.
        providers: vendors that take batches, by their names in the registry.
        write: writes an operation of the journal and waits for its commit.
        cost_of: what an answer of a batch costs, by logical name; None where nobody knows any more.
        every_s: seconds between two passes.
    """

    def __init__(
        self,
        pool: PgPool,
        providers: Mapping[str, BatchProvider],
        write: Write,
        cost_of: CostOf,
        *,
        every_s: float,
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._write = write
        self._cost_of = cost_of
        self._every_s = every_s

    async def run(self) -> None:
        """Make passes until cancelled."""
        while True:
            try:
                await self.make_pass()
            except SQLAlchemyError as error:
                logger.warning("pooling waits for the database: %s", type(error).__name__)
                await asyncio.sleep(AWAY_S)
            except Exception:  # without this loop nobody would bring answers of batches any more
                logger.exception("a pass of pooling failed")
            await asyncio.sleep(self._every_s)

    async def make_pass(self) -> None:
        """Close what is due, then look at every batch that is."""
        for item in await asyncio.to_thread(self._pool.form_batches):
            await self._settle(item, "failed", error={"code": "cancelled", "message": "Nobody waits for it any more."})
        while (batch := await asyncio.to_thread(self._pool.take_due)) is not None:
            await self._look_after(batch)

    async def _look_after(self, batch: VendorBatch) -> None:
        provider = self._providers.get(batch.provider)
        if provider is None:
            reason = f"{batch.provider} is not configured any more."
            await self._stumble(batch, PersistentError(reason, code="not_configured"))
            return
        try:
            if batch.vendor_id is None:
                await self._hand_in(provider, batch)
            else:
                await self._watch(provider, batch, batch.vendor_id)
        except StepError as error:
            await self._stumble(batch, error)
        except SQLAlchemyError:
            raise
        except Exception as error:  # one batch that cannot be read must not keep all others from their answers
            logger.exception("batch %s of %s cannot be looked after", batch.batch_id, batch.provider)
            reason = f"Looking after the batch failed: {type(error).__name__}."
            await self._stumble(batch, TransientError(reason, code="batch_fault", sent=True))

    async def _stumble(self, batch: VendorBatch, error: StepError) -> None:
        """Try again later, or ask all of it live where trying again cannot help."""
        hopeless = batch.vendor_id is None and (
            isinstance(error, PersistentError) or batch.is_late or batch.tries + 1 >= MOST_TRIES
        )
        if not hopeless and not _is_lost(batch, error) and not batch.is_given_up:
            logger.warning("batch %s of %s: %s", batch.batch_id, batch.provider, error)
            await asyncio.to_thread(self._pool.look_later, batch.batch_id, None, str(error))
            return
        logger.warning("batch %s of %s is given up: %s", batch.batch_id, batch.provider, error)
        # What a vendor may be at work on is counted; what it never took is not.
        sent = batch.vendor_id is not None or batch.tries > 0 or bool(error.details.get("sent"))
        await self._give_up(batch, sent=sent, why=str(error))

    async def _hand_in(self, provider: BatchProvider, batch: VendorBatch) -> None:
        items = await asyncio.to_thread(self._pool.read_items, batch.batch_id)
        if not items:
            await asyncio.to_thread(self._pool.end, batch.batch_id)
            return
        vendor_id = None
        if batch.is_late and not batch.tries:
            raise PersistentError("There is no time left for a batch.", code=MISSED)
        if batch.tries:  # the last one who did may have died, or not heard the answer
            vendor_id = await provider.find_batch(batch.mark, [item.name for item in items])
        if vendor_id is None:
            await asyncio.to_thread(self._pool.note_try, batch.batch_id)
            vendor_id = await provider.submit_batch([_asked(item) for item in items], batch.mark)
        await asyncio.to_thread(self._pool.note_submitted, batch.batch_id, vendor_id)
        logger.info("%d questions went to %s as batch %s", len(items), batch.provider, vendor_id)

    async def _watch(self, provider: BatchProvider, batch: VendorBatch, vendor_id: str) -> None:
        state = await provider.read_batch(vendor_id)
        if state.ended:
            await self._bring_home(batch, await provider.read_results(vendor_id))
        elif batch.is_given_up:
            raise TransientError(f"{batch.provider} does not end the batch {vendor_id}.", code=MISSED, sent=True)
        elif batch.is_late and not batch.cancel_asked:
            await provider.cancel_batch(vendor_id)
            await asyncio.to_thread(self._pool.note_stopping, batch.batch_id)
        else:
            await asyncio.to_thread(self._pool.look_later, batch.batch_id)

    async def _bring_home(self, batch: VendorBatch, results: list[BatchResult]) -> None:
        """Settle every question, then close the batch; done twice, it comes to the same."""
        # An answer is an answer, though an error of the same name stand before or behind it.
        by_name = {result.name: result for result in sorted(results, key=lambda one: one.answer is not None)}
        for item in await asyncio.to_thread(self._pool.read_items, batch.batch_id):
            result = by_name.get(item.name)
            if result is not None and result.answer is not None:
                await self._settle_answer(item, result.answer)
            else:
                error = None if result is None else result.error
                status = "unknown" if isinstance(error, StepError) and error.details.get("sent") else "failed"
                await self._settle(item, status, error=_described(error))
        await asyncio.to_thread(self._pool.end, batch.batch_id)

    async def _give_up(self, batch: VendorBatch, *, sent: bool, why: str) -> None:
        for item in await asyncio.to_thread(self._pool.read_items, batch.batch_id):
            await self._settle(item, "unknown" if sent else "failed", error={"code": MISSED, "message": why})
        await asyncio.to_thread(self._pool.end, batch.batch_id, why)

    async def _settle_answer(self, item: PooledCall, answer: ChatAnswer) -> None:
        request = ChatRequest.from_json(item.request)
        cost = self._cost_of(item.logical, request, answer)
        if cost is None:  # its offer left the registry meanwhile; the vendor charges all the same
            cost = item.estimate_usd
        usage = answer.usage.to_json()
        await self._settle(item, "answered", response=answer.to_json(), usage=usage, cost_usd=str(cost))

    async def _settle(self, item: PooledCall, status: str, **fields: Any) -> None:
        """Write what came of a question, then wake its step; one that is not parked any more is left alone."""
        place = {"run": item.run_id, "key": item.step_key}
        await self._write({"op": "answer_call", **place, "ordinal": item.ordinal, "status": status, **fields})
        await self._write({"op": "wake", **place})


def _is_lost(batch: VendorBatch, error: StepError) -> bool:
    """Tell a batch that the vendor has no more, or whose answers it keeps no longer."""
    return batch.vendor_id is not None and (
        error.code == GONE
        or (isinstance(error, PersistentError) and error.details.get("status") == HTTPStatus.NOT_FOUND)
    )


def _asked(item: PooledCall) -> BatchItem:
    return BatchItem(item.name, ChatRequest.from_json(item.request))


def _described(error: Exception | None) -> dict[str, str]:
    if error is None:
        return {"code": MISSED, "message": "The batch ended without an answer to this."}
    return {"code": str(getattr(error, "code", MISSED)), "message": str(error)}
