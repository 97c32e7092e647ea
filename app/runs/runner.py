"""Do one step: claim it, do it with no transaction and no connection held, finish it.

A coroutine a step. What blocks (a plain agent, a plain tool) runs in a thread of the worker's executor; what waits
(a model's answer) costs no thread. The step's own time limit and its cancellation work for both.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from app.errors import BatutaError, FatalError, PersistentError, ResourceError, StepError, StepParked
from app.logs import about
from app.runs.claimed import Claimed, read_claim
from app.runs.context import HandlerContext
from app.runs.ledger import DayCaps, StepLedger
from app.runs.model import CACHED
from app.runs.ports import Grown
from app.runs.retry import STANDARD, Policy, Retry, decide
from app.runs.spans import tell_outcome, traced
from app.runs.submission import growth_rows
from app.workflows.conditions import holds, names_in_condition
from app.workflows.limits import DEFAULT_LIMITS
from app.workflows.variables import LOOP_NAMES, render

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from app.gateway.model import EmbeddingCall, Embeddings, ModelAnswer, ModelCall
    from app.gateway.ports import OnText
    from app.runs.journal import Answer, JournalWriter, Operation
    from app.runs.lease import Owned
    from app.runs.ports import FailureExplainer, Handler, HandlerCatalog, ModelSteps, StepReader
    from app.runs.threads import HandlerThreads

logger = logging.getLogger(__name__)

Place = tuple[str, str, int]  # run, step, fence
ORPHAN_RENEWALS = 3  # of the lease: an answer that is merely late has come by then
HANDED_BACK = "handed back"
PARKED_S = 60.0  # until a step looks again that said neither when nor who would wake it
WOKEN = frozenset({"budget", "fenced"})
RUN_CANCELLED = "run cancelled"
EXPLAINER = "failure_explainer"
EXPLANATION_PART = 1_000_000  # above any handler's own questions


@dataclass(frozen=True)
class RunnerParts:
    """What a runner is made of.

    Args:
        journal: writes operations.
        catalog: agents and tools.
        models: does model steps; None when no gateway is composed.
        threads: for handlers that block.
        reader: reads the steps of a run, for handlers that ask.
        step_timeout_s: limit of a step that sets none.
        caps: limits of the day's spending.
        explainer: says why a step failed for good; None leaves it unsaid.
        policy: tries and waits by error class.
    """

    journal: JournalWriter
    catalog: HandlerCatalog
    models: ModelSteps | None
    threads: HandlerThreads
    reader: StepReader
    step_timeout_s: float
    caps: DayCaps
    explainer: FailureExplainer | None = None
    policy: Policy = STANDARD


class StepRunner:
    """Run steps on the loop it is called from."""

    def __init__(self, parts: RunnerParts) -> None:
        self._parts = parts
        self._journal = parts.journal
        self._active: dict[Place, asyncio.Task[Any]] = {}
        self._stop_reason: dict[Place, str] = {}
        self._in_hand = 0
        self._leaving = False
        self._held: set[Place] = set()
        self._missed: dict[Place, int] = {}

    @property
    def in_hand(self) -> int:
        """How many messages are being served now, from before the claim until after the finish."""
        return self._in_hand

    async def run(self, run_id: str, key: str, next_key: str | None = None) -> bool:
        """Claim a step and see it through.

        Args:
            run_id: the run.
            key: the step.
            next_key: the step that the message's own chain carries next.

        Returns:
            Whether that chain may go on: the journal sent just that step next. Otherwise the chain's tail must be
            dropped.
        """
        self._in_hand += 1
        try:
            return await self._serve(run_id, key, next_key)
        finally:
            self._in_hand -= 1

    async def _serve(self, run_id: str, key: str, next_key: str | None) -> bool:
        claim = {"op": "claim", "run": run_id, "key": key, "claim": uuid.uuid4().hex}
        answer = await self._journal.write(claim)
        if "refused" in answer:
            logger.debug("step %s of run %s was refused: %s", key, run_id, answer["refused"])
            return False
        place = (run_id, key, int(answer["fence"]))
        self._held.add(place)
        step = read_claim(run_id, key, answer)
        try:
            with about(run=run_id, step=key, request=step.origin.get("request", "")), traced(step) as span:
                return await self._see_through(step, next_key, span)
        finally:
            self._held.discard(place)

    async def _see_through(self, step: Claimed, next_key: str | None, span: Span) -> bool:
        if self._leaving:  # claimed while all the rest was handed back
            operation = step.operation("park", reason=HANDED_BACK, delay_s=0)
        else:
            operation = await self._explained(step, await self._perform_guarded(step))
        if operation["op"] == "finish" and next_key is not None:
            operation["chained"] = next_key
        tell_outcome(span, operation)
        answer = await self._write_outcome(step, operation)
        return bool(answer.get("chained"))

    def look_after(self, owned: list[Owned]) -> None:
        """Compare what the journal says runs here with what does. Call on the loop, with each renewal of the lease.

        What was cancelled is stopped. What nobody here knows of (its claim was granted, and the answer got lost in a
        fault of ours) would stay running as long as this process lives; the third time in a row it is given back.
        """
        self.cancel_runs([step.run_id for step in owned if step.cancelled])
        unknown = {step[:3] for step in owned} - self._held
        self._missed = {place: self._missed.get(place, 0) + 1 for place in unknown}
        for place, times in self._missed.items():
            if times == ORPHAN_RENEWALS:
                logger.error("step %s of run %s is nobody's here; it is given back", place[1], place[0])
                self._journal.write_soon(_give_back(place))

    def cancel_runs(self, run_ids: list[str]) -> None:
        """Stop what runs of these runs. Call on the loop."""
        wanted = set(run_ids)
        self._stop([place for place in self._active if place[0] in wanted], RUN_CANCELLED)

    def hand_back_all(self) -> None:
        """Stop everything and give it back, to be done elsewhere, and what is claimed later too. Call on the loop."""
        self._leaving = True
        self._stop(list(self._active), HANDED_BACK)

    def _stop(self, places: list[Place], reason: str) -> None:
        for place in places:
            self._stop_reason.setdefault(place, reason)
            self._active[place].cancel()

    async def _perform_guarded(self, step: Claimed) -> Operation:
        """Perform a step in a task of its own, so that stopping it never stops its finish."""
        # With the fence: a process that was taken for dead may own a step twice for a moment.
        place = (step.run_id, step.key, step.fence)
        task = asyncio.ensure_future(self._perform(step))
        self._active[place] = task
        try:
            return await task
        except asyncio.CancelledError:
            reason = self._stop_reason.get(place)
            if reason is None:  # the handler's own; handed back, it would come again for ever
                return self._failed(step, FatalError("The handler cancelled itself.", code="internal"))
            if reason == RUN_CANCELLED:
                return step.operation("finish", status="cancelled", reason=reason)
            return step.operation("park", reason=HANDED_BACK, delay_s=0)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises ends its step and nothing else
            return self._failed(step, error)
        finally:
            self._active.pop(place, None)
            self._stop_reason.pop(place, None)

    async def _explained(self, step: Claimed, operation: Operation) -> Operation:
        """Have a failure for good explained. Whatever comes of that, the failure stays what it is."""
        explainer = self._parts.explainer
        failed = operation["op"] == "finish" and operation["status"] == "failed"
        if not failed or self._leaving or explainer is None or not explainer.explains(step.run_kind):
            return operation
        # A part of each claim's own: a later failure of the step is another failure.
        part = EXPLANATION_PART + step.attempts
        ledger = StepLedger(self._journal, step, self._parts.caps, part=part, aside=EXPLAINER)
        place = (step.run_id, step.key, step.fence)
        task = asyncio.ensure_future(explainer.explain(step, operation["error"], ledger))
        self._active[place] = task  # so that a cancelled run or a worker that leaves does not wait for it
        try:
            error = {**operation["error"], "explanation": await task}
        except (asyncio.CancelledError, Exception) as problem:  # noqa: BLE001 - an explanation is never worth its step
            logger.info("the failure of step %s of run %s stays unexplained: %r", step.key, step.run_id, problem)
            return operation
        finally:
            self._active.pop(place, None)
            self._stop_reason.pop(place, None)
        return {**operation, "error": error}

    async def _write_outcome(self, step: Claimed, operation: Operation) -> Answer:
        try:
            return await self._journal.write(operation)
        except Exception as error:  # an outcome that cannot be written must not leave the step running for ever
            logger.exception("the outcome of step %s of run %s cannot be stored", step.key, step.run_id)
            if isinstance(error, StepError):
                described = {"code": error.code, "message": str(error)}
            else:
                message = f"The step's outcome cannot be stored ({type(error).__name__})."
                described = {"code": "unstorable", "message": message}
            return await self._journal.write(step.operation("finish", status="failed", error=described))

    async def _perform(self, step: Claimed) -> Operation:
        skip = _skip(step)
        if skip is not None:
            return skip
        if step.task.for_each is not None and step.item is None:
            return _expand(step)
        if step.task.kind == "approval":
            return step.operation("wait", rendered=render(step.task.target, step.values))
        if step.task.kind == "model":
            return await self._perform_model(step)
        return await self._perform_handler(step)

    async def _perform_model(self, step: Claimed) -> Operation:
        slots = self._models().slots_of(step)
        if slots and await self._waits_for(step, slots):
            return step.operation("nothing")
        ledger = StepLedger(self._journal, step, self._parts.caps)
        async with asyncio.timeout(self._limit_s(step, None)):
            done = await self._models().perform(step, ledger)
        kept = {"reason": CACHED} if done.cached else {}
        return step.operation("finish", status="completed", output=done.output, model=done.model, **kept)

    def _models(self) -> ModelSteps:
        if self._parts.models is None:
            raise PersistentError("No model provider is configured.", code="not_configured")
        return self._parts.models

    async def _ask(self, step: Claimed, call: ModelCall, part: int, on_text: OnText | None) -> ModelAnswer:
        ledger = StepLedger(self._journal, step, self._parts.caps, part=part)
        return await self._models().ask(call, ledger, on_text, patient=step.latency == "batch")

    async def _embed(self, step: Claimed, call: EmbeddingCall, part: int) -> Embeddings:
        return await self._models().embed(call, StepLedger(self._journal, step, self._parts.caps, part=part))

    async def _perform_handler(self, step: Claimed) -> Operation:
        handler = self._handler(step)
        if handler.slots and await self._waits_for(step, handler.slots):
            return step.operation("nothing")
        given = step.rendered
        if given is None:
            given = render(step.task.input, step.values)
            if step.task.reads() or step.item is not None:
                # Frozen, so that a second try does the same thing whatever the code renders then.
                await self._journal.write(step.operation("freeze", rendered=given))
        limit_s = self._limit_s(step, handler)
        if not handler.is_async:
            await self._parts.threads.take()
        context = HandlerContext(
            step, limit_s, self._parts.reader, partial(self._ask, step), partial(self._embed, step)
        )
        try:
            async with asyncio.timeout(limit_s):
                if handler.is_async:
                    output = await _await_handler(handler, context, given)
                else:
                    output = await self._parts.threads.run(_call_handler, handler, context, given)
        finally:
            context.stop()
        return _completed(step, output)

    async def _waits_for(self, step: Claimed, slots: tuple[tuple[str, int], ...]) -> bool:
        """Take a step's slots, all or none; without them the journal has parked it."""
        answer = await self._journal.write(step.operation("slots", slots=[list(slot) for slot in slots]))
        return bool(answer.get("parked") or answer.get("fenced"))

    def _handler(self, step: Claimed) -> Handler:
        handlers = self._parts.catalog.agents if step.task.kind == "agent" else self._parts.catalog.tools
        handler = handlers.get(step.task.target)
        if handler is None:
            raise FatalError(f"This worker has no {step.task.kind} named {step.task.target!r}.", code="unknown_handler")
        return handler

    def _limit_s(self, step: Claimed, handler: Handler | None) -> float:
        return step.task.timeout_s or (handler.timeout_s if handler else None) or self._parts.step_timeout_s

    def _failed(self, step: Claimed, error: Exception) -> Operation:
        if isinstance(error, StepParked):
            # Only the journal's own reasons have somebody who wakes the step; any other comes again by the clock.
            delay_s = PARKED_S if error.delay_s is None and error.reason not in WOKEN else error.delay_s
            return step.operation("park", reason=error.reason, delay_s=delay_s)
        cause = _step_error(step, error)
        described = {"code": cause.code, "message": str(cause), "class": cause.error_class, **cause.details}
        tries = step.tries.get(cause.error_class, 0) + 1
        limit = None if step.task.retries is None else step.task.retries + 1
        decision = decide(cause, tries, limit=limit, random=random.random, policy=self._parts.policy)
        if isinstance(decision, Retry):
            return step.operation(
                "park", reason="back-off", delay_s=decision.delay_s, error_class=cause.error_class, error=described
            )
        return step.operation("finish", status="failed", error=described)


def _give_back(place: Place) -> Operation:
    run_id, key, fence = place
    return {"op": "park", "run": run_id, "key": key, "fence": fence, "reason": HANDED_BACK, "delay_s": 0}


async def _await_handler(handler: Handler, context: HandlerContext, given: Any) -> Any:
    try:
        return await handler.call(context, given)
    except (SystemExit, KeyboardInterrupt) as error:  # asyncio would let it end the loop, and every step with it
        raise _unruly(error) from error


def _call_handler(handler: Handler, context: HandlerContext, given: Any) -> Any:
    try:
        return handler.call(context, given)
    except (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError) as error:
        # What asyncio takes for its own: the loop would end, or the step would never hear of it.
        raise _unruly(error) from error


def _unruly(error: BaseException) -> FatalError:
    return FatalError(f"The handler raised {type(error).__name__}.", code="internal")


def _completed(step: Claimed, output: Any) -> Operation:
    if not isinstance(output, Grown):
        return step.operation("finish", status="completed", output=output)
    if step.item is not None:
        raise FatalError("An item of a for_each cannot add steps to its run.", code="growth_refused")
    return step.operation("finish", status="completed", output=output.output, grow=growth_rows(output))


def _skip(step: Claimed) -> Operation | None:
    task = step.task
    if step.doomed:
        return step.operation("finish", status="skipped", reason="what it comes after did not succeed")
    needed = task.reads() & step.missing
    if task.when is not None and not (names_in_condition(task.when) & step.missing):
        judged_here = (step.item is not None) == task.judged_per_item
        if judged_here and not holds(task.when, step.values):
            return step.operation("finish", status="skipped", reason="when")
    if needed:
        names = ", ".join(sorted(needed))
        return step.operation("finish", status="skipped", reason=f"needs {names}")
    return None


def _expand(step: Claimed) -> Operation:
    items = render(step.task.for_each, step.values)
    if not isinstance(items, list):
        raise FatalError(f"for_each needs a list, not {_kind_of(items)}.", code="for_each_not_a_list")
    if len(items) > DEFAULT_LIMITS.max_items:
        raise FatalError(
            f"for_each has {len(items)} items; {DEFAULT_LIMITS.max_items} is the most.", code="for_each_too_long"
        )
    # What only the list was read from is not handed to every item again.
    reads = replace(step.task, for_each=None).reads() - LOOP_NAMES
    return step.operation("expand", items=items, reads=sorted(reads))


def _kind_of(value: Any) -> str:
    names = {
        str: "a text",
        dict: "an object",
        bool: "a truth value",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names.get(type(value), "something else")


def _step_error(step: Claimed, error: Exception) -> StepError:
    if isinstance(error, StepError):
        return error
    if isinstance(error, TimeoutError):
        return ResourceError("The step's time limit passed.", code="timeout")
    if isinstance(error, MemoryError):
        return ResourceError("The step ran out of memory.", code="memory")
    if isinstance(error, BatutaError):
        return FatalError(str(error), code=error.code)
    logger.error("step %s of run %s raised", step.key, step.run_id, exc_info=error)
    return FatalError(f"The {step.task.kind} {step.task.target!r} raised {type(error).__name__}.", code="internal")
