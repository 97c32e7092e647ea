"""The step that answers a message: category, route, answer, receipt; for H, the acknowledgement and what follows it."""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from app.chat import prompts
from app.chat.history import as_messages, divide, folding_prompt, history_tokens
from app.chat.model import (
    ACKNOWLEDGER,
    CATEGORIZER,
    FAST,
    THINKING,
    Category,
    CategorySource,
    Chosen,
    Receipt,
    guess_tokens,
)
from app.chat.routing import (
    hold_out,
    move_down,
    read_category,
    route_by_category,
    route_by_shape,
    trusts_local,
    try_lower,
)
from app.errors import FatalError, LogicalError, StepError, StepParked
from app.gateway.model import ModelCall
from app.runs.ports import Grown
from app.runs.waiting import in_thread
from app.workflows.model import Block, BlockType, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.chat.model import Judgement, Message, Turn
    from app.chat.ports import Categoriser, Prices, RouteScorer
    from app.chat.store import PgChatStore
    from app.chat.tokens import TokenStreams, TokenWriter
    from app.gateway.model import ModelAnswer
    from app.runs.ports import ModelContext

logger = logging.getLogger(__name__)

CATEGORY_PART, ANSWER_PART, FOLD_PART = 0, 1, 2
CATEGORY_CHARACTERS = 6000
"""Of a message, for the categoriser: its beginning and its end say what is wanted."""

CATEGORY_TIMEOUT_S = 20.0
FOLD_TOKENS = 500
MOST_MESSAGES = 400
PLANNER = "chat_plan"
REPORTING = "chat_report"
REPORT_BLOCK = 10_000
"""Where the report stands, counted from the block after the acknowledgement; the plan's blocks go in between."""

JOURNALS_OWN = frozenset({"budget", "fenced"})


@dataclass(frozen=True)
class Parts:
    """What answering needs.

    Args:
        categoriser: the local one; asked for at each message, since what is learned changes.
        scorer: likewise.
        told: what stands before every question to a model.
        history_tokens: most tokens of a session that a model is given.
        trial: share of single-model requests that are tried one step down while nothing is known there.
    """

    store: PgChatStore
    prices: Prices
    streams: TokenStreams
    categoriser: Callable[[], Categoriser]
    scorer: Callable[[], RouteScorer]
    told: Callable[[str], tuple[str, ...]]
    source: CategorySource
    history_tokens: int
    trial: float = 0.0


class Answering:
    """The agent `chat`: answers one message of a person's."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def answer(self, context: ModelContext, given: dict[str, Any]) -> dict[str, Any] | Grown:
        """Answer the run's message, or acknowledge it and let a plan follow.

        Repeat-safe: questions to models are found in the ledger, and the session takes a run's lines once.
        """
        del given  # what was asked stands in the turn: a person's text is never part of a document
        turn = await read_turn(self._parts.store, context)
        writer = self._parts.streams.writer(turn.run_id) if turn.streams else None
        try:
            if writer is not None and context.attempt > 1:
                writer.take(None)
            return await self._answer(context, turn, writer)
        finally:
            if writer is not None:
                await writer.close()

    async def _answer(self, context: ModelContext, turn: Turn, writer: TokenWriter | None) -> dict[str, Any] | Grown:
        chosen, sorting_usd = await self._route(context, turn)
        summary, newest, folding_usd = await self._recall(context, turn)
        plans = chosen.category is Category.H
        call = ModelCall(
            model=ACKNOWLEDGER if plans else chosen.model,
            prompt=turn.asked.message,
            system=self._parts.told(ACKNOWLEDGER if plans else chosen.model),
            history=as_messages(summary, newest),
            images=turn.asked.images,
            timeout_s=context.deadline_s,
        )
        tokens = guess_tokens(turn.asked.message) + history_tokens(summary, newest)
        estimated_usd = self._parts.prices.estimate_usd(call.model, tokens)
        said = await context.ask(call, part=ANSWER_PART, on_text=writer.take if writer else None)
        check_words(said)
        receipt = self._receipt(chosen, said, estimated_usd, sorting_usd + folding_usd)
        await in_thread(self._parts.store.keep_answer, turn, said.text, receipt)
        output = write_output(turn, said.text, receipt)
        return Grown(output, what_follows()) if plans else output

    async def _route(self, context: ModelContext, turn: Turn) -> tuple[Chosen, Decimal]:
        """Choose where the message goes; give what finding out cost."""
        shaped = route_by_shape(turn.asked)
        if shaped is not None:
            return shaped, Decimal(0)
        chosen, cost_usd = await self._categorise(context, turn)
        # In a thread: what is learned is read there when it has changed.
        move = await in_thread(self._parts.scorer().propose, turn.asked, chosen)
        moved = chosen
        if move is not None:
            moved = move_down(chosen, move.model, move.evidence)
        elif not turn.holdout:
            moved = try_lower(chosen, draw_of(turn.run_id), self._parts.trial)
        if not self._parts.prices.available(moved.model):
            moved = chosen
        return (hold_out(chosen, moved.model) if turn.holdout else moved), cost_usd

    async def _categorise(self, context: ModelContext, turn: Turn) -> tuple[Chosen, Decimal]:
        parts = self._parts
        local = await in_thread(parts.categoriser().judge, turn.asked.message, turn.asked.context_tokens)
        available = parts.prices.available(CATEGORIZER)
        if trusts_local(parts.source, local, model_available=available) and not self._learns_from(turn, available):
            return route_by_category(local.category, _reason(local), CategorySource.LOCAL), Decimal(0)
        call = ModelCall(
            model=CATEGORIZER,
            prompt=excerpt(turn.asked.message),
            system=parts.told(CATEGORIZER),
            timeout_s=CATEGORY_TIMEOUT_S,
        )
        try:
            said = await context.ask(call, part=CATEGORY_PART)
        except (StepError, StepParked) as problem:
            if isinstance(problem, StepParked) and problem.reason in JOURNALS_OWN:
                raise
            logger.warning("the categoriser did not answer, the local judgement stands: %s", problem)
            why = f"{_reason(local)} (the categoriser did not answer)"
            return route_by_category(local.category, why, CategorySource.LOCAL), Decimal(0)
        category = read_category(said.text)
        if category is None:  # nobody said a letter, and nobody learns from it
            why = "the categoriser's answer was none of the letters"
            return route_by_category(Category.H, why), said.cost_usd
        return route_by_category(category, f"says {said.model}", CategorySource.MODEL), said.cost_usd

    def _learns_from(self, turn: Turn, available: bool) -> bool:  # noqa: FBT001 - private
        """Whether the categoriser is asked though the local judgement is sure: else only doubtful cases would teach."""
        return turn.holdout and available and self._parts.source is CategorySource.AUTO

    async def _recall(self, context: ModelContext, turn: Turn) -> tuple[str, tuple[Message, ...], Decimal]:
        """Give the session's summary, its newest messages, and what folding older ones cost, if they were too many."""
        recalled = divide(turn.history, self._parts.history_tokens)
        if not recalled.older:
            return turn.summary, recalled.newest, Decimal(0)
        call = ModelCall(
            model=FAST,
            prompt=folding_prompt(turn.summary, recalled.older),
            system=(prompts.FOLD,),
            config={"max_tokens": FOLD_TOKENS},
        )
        try:
            said = await context.ask(call, part=FOLD_PART)
            check_words(said)
        except StepParked as parked:
            if parked.reason in JOURNALS_OWN:
                raise
            return turn.summary, recalled.newest, Decimal(0)
        except StepError as error:
            logger.warning("a session was not summarised, its older messages are left out: %s", error)
            return turn.summary, recalled.newest, Decimal(0)
        folded = [message.message_id for message in recalled.older]
        await in_thread(self._parts.store.fold, turn.session_id, said.text, folded, turn.summary)
        return said.text, recalled.newest, said.cost_usd

    def _receipt(self, chosen: Chosen, said: ModelAnswer, estimated_usd: Decimal, spent_usd: Decimal) -> Receipt:
        cost_usd = said.cost_usd + spent_usd
        saved_usd = self._parts.prices.same_tokens_usd(THINKING, said) - cost_usd
        return Receipt(chosen, said.model, estimated_usd, saved_usd, cost_usd)


async def read_turn(store: PgChatStore, context: ModelContext) -> Turn:
    """Read the turn whose run this is.

    Raises:
        FatalError: the run is no chat, or its session was deleted.
    """
    turn = await in_thread(store.read_turn, context.run_id, most=MOST_MESSAGES)
    if turn is None:
        raise FatalError("There is no chat here: its session was deleted, or the run is none.", code="chat_gone")
    return turn


def check_words(said: ModelAnswer) -> None:
    """See that a model said something.

    Raises:
        LogicalError: it only called for tools that nobody gave it. Kept, a message without words would have vendors
            refuse every later question of its session.
    """
    if not said.text.strip():
        raise LogicalError(f"{said.model} answered without a word.", code="empty_answer", final=True)


def write_output(turn: Turn, text: str, receipt: Receipt) -> dict[str, Any]:
    """Write the first step's output: what the caller is answered, but for the run's own fields."""
    return {
        "session_id": turn.session_id,
        "response": text,
        "category": str(receipt.chosen.category),
        "model_used": receipt.answered_by,
        "timestamp": datetime.now(UTC).isoformat(),
        "route": receipt.to_json(),
    }


def draw_of(run_id: str) -> float:
    """Draw a number from 0 to 1 that is the run's own: a second try draws the same."""
    return zlib.crc32(run_id.encode()) / 2**32


def what_follows() -> tuple[Block, ...]:
    """Write the blocks after an acknowledgement: the plan, room for what it adds, and the report."""
    plan = Task("plan", "workflow[1].tasks[0]", "agent", PLANNER)
    # It tells how the others ended, so a retry of any of them has it told anew.
    report = Task("report", "workflow[2].tasks[0]", "agent", REPORTING, config={"tells": True})
    return (
        Block(0, BlockType.INLINE, (plan,)),
        Block(REPORT_BLOCK, BlockType.INLINE, (report,)),
    )


def excerpt(message: str) -> str:
    """Cut a message for the categoriser."""
    if len(message) <= CATEGORY_CHARACTERS:
        return message
    half = CATEGORY_CHARACTERS // 2
    return f"{message[:half]}\n[...]\n{message[-half:]}"


def _reason(judgement: Judgement) -> str:
    if judgement.confidence is None:
        return judgement.reason
    return f"{judgement.reason} (right in {judgement.confidence:.0%} of such cases)"
