"""The step that answers, over models that say what a test wants."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.chat.agents import CATEGORY_CHARACTERS, Answering, Parts, excerpt
from app.chat.model import Asked, Category, CategorySource, Chosen, Judgement, Message, Receipt, Turn
from app.chat.ports import Move
from app.errors import FatalError, LogicalError, PersistentError, StepParked, TransientError
from app.gateway.model import ModelAnswer, ModelCall, Usage
from app.runs.ports import Grown

TURN = Turn("r", "s", "me", 1, Asked("Why?"), holdout=False, streams=False)


@dataclass
class MemoryTurns:
    """A store with one turn."""

    turn: Turn | None = TURN
    kept: list[tuple[str, Receipt]] = field(default_factory=list)
    folded: list[int] = field(default_factory=list)
    error: Exception | None = None

    def read_turn(self, run_id: str, *, most: int) -> Turn | None:
        del run_id, most
        if self.error is not None:
            raise self.error
        return self.turn

    def keep_answer(self, turn: Turn, text: str, receipt: Receipt) -> None:
        del turn
        self.kept.append((text, receipt))

    def fold(self, session_id: str, summary: str, folded: list[int], before: str) -> None:
        del session_id, summary, before
        self.folded = folded


@dataclass
class Speaking:
    """A context whose models say a line a model, or raise it; remembers what they were asked."""

    lines: dict[str, Any]
    attempt: int = 1
    run_id: str = "r"
    deadline_s: float = 60.0
    calls: list[ModelCall] = field(default_factory=list)

    async def ask(self, call: ModelCall, *, part: int = 0, on_text: Any = None) -> ModelAnswer:
        del part, on_text
        self.calls.append(call)
        line = self.lines.get(call.model, "an answer")
        if isinstance(line, Exception):
            raise line
        usage = Usage(input_tokens=10, output_tokens=10)
        return ModelAnswer(line, None, call.model, "openai", "x", usage, Decimal("0.001"), "stop")


class FlatPrices:
    """Everything is served, and costs a cent."""

    def available(self, model: str) -> bool:
        return model != "gone"

    def estimate_usd(self, model: str, prompt_tokens: int) -> Decimal:
        del model, prompt_tokens
        return Decimal("0.01")

    def same_tokens_usd(self, model: str, answer: ModelAnswer) -> Decimal:
        del answer
        assert model == "thinking_ai"
        return Decimal("0.01")


@dataclass
class Sure:
    """A categoriser and route scorer with fixed opinions."""

    category: Category = Category.M
    confidence: float | None = None
    move: Move | None = None

    def judge(self, message: str, context_tokens: int) -> Judgement:
        del message, context_tokens
        return Judgement(self.category, "as it thinks", self.confidence)

    def propose(self, asked: Asked, chosen: Chosen) -> Move | None:
        del asked, chosen
        return self.move


def answer(
    context: Speaking,
    *,
    turn: Turn | None = TURN,
    sure: Sure | None = None,
    source: CategorySource = CategorySource.AUTO,
    store: MemoryTurns | None = None,
    trial: float = 0.0,
) -> tuple[Any, MemoryTurns]:
    store = store or MemoryTurns(turn)
    sure = sure or Sure()
    parts = Parts(
        store=store,  # type: ignore[arg-type]  # a stand-in
        prices=FlatPrices(),
        streams=None,  # type: ignore[arg-type]  # nobody streams here
        categoriser=lambda: sure,
        scorer=lambda: sure,
        told=lambda model: (f"You are {model}.",),
        source=source,
        history_tokens=100,
        trial=trial,
    )
    output = asyncio.run(Answering(parts).answer(context, {}))  # type: ignore[arg-type]  # a stand-in
    return output, store


def test_a_sure_local_judgement_spares_the_categoriser() -> None:
    context = Speaking({})
    output, _ = answer(context, sure=Sure(Category.L, 0.95))
    assert [call.model for call in context.calls] == ["thinking_ai"]
    assert "right in 95%" in output["route"]["reason"]


def test_what_was_saved_is_against_the_strong_model_and_net_of_the_categoriser() -> None:
    output, store = answer(Speaking({"categorizer_ai": "M"}))
    [(_, receipt)] = store.kept
    assert receipt.cost_usd == Decimal("0.002")
    assert receipt.saved_usd == Decimal("0.008")
    assert output["route"]["saved_dollars"] == "0.008"


@pytest.mark.parametrize("problem", [PersistentError("401"), TransientError("503"), StepParked("breaker", delay_s=60)])
def test_a_categoriser_that_does_not_answer_is_replaced_and_it_is_said(problem: Exception) -> None:
    output, _ = answer(Speaking({"categorizer_ai": problem}))
    assert output["category"] == "M"
    assert "did not answer" in output["route"]["reason"]


def test_money_that_does_not_suffice_for_the_categoriser_is_waited_for() -> None:
    with pytest.raises(StepParked):
        answer(Speaking({"categorizer_ai": StepParked("budget")}))


def test_a_move_down_on_evidence_is_taken_and_shown() -> None:
    context = Speaking({"categorizer_ai": "L"})
    output, store = answer(context, sure=Sure(move=Move("fast_ai", "as good in 400 cases")))
    assert context.calls[-1].model == "fast_ai"
    assert output["route"]["moved_from"] == "thinking_ai"
    assert store.kept[0][1].chosen.moved_from == "thinking_ai"


@pytest.mark.parametrize("model", ["thinking_ai", "veo_3_1", "gone"])
def test_a_move_that_is_not_down_or_not_served_is_not_taken(model: str) -> None:
    context = Speaking({"categorizer_ai": "M"})
    output, _ = answer(context, sure=Sure(move=Move(model, "hm")))
    assert context.calls[-1].model == "medium_ai"
    assert "moved_from" not in output["route"]


def test_what_is_held_out_goes_to_the_strong_model_whatever_the_evidence() -> None:
    context = Speaking({"categorizer_ai": "M"})
    held = replace(TURN, holdout=True)
    output, _ = answer(context, turn=held, sure=Sure(move=Move("fast_ai", "as good")))
    assert context.calls[-1].model == "thinking_ai"
    assert output["route"]["holdout"] is True


def test_what_is_held_out_remembers_where_it_would_have_gone() -> None:
    held = replace(TURN, holdout=True)
    _, store = answer(Speaking({"categorizer_ai": "M"}), turn=held, sure=Sure(move=Move("fast_ai", "as good")))
    assert store.kept[0][1].chosen.held_from == "fast_ai"
    _, store = answer(Speaking({"categorizer_ai": "M"}), turn=held, trial=1.0)
    assert store.kept[0][1].chosen.held_from == "medium_ai"


def test_what_is_held_out_asks_the_categoriser_though_the_local_judgement_is_sure() -> None:
    context = Speaking({"categorizer_ai": "L"})
    _, store = answer(context, turn=replace(TURN, holdout=True), sure=Sure(Category.M, 0.99))
    assert [call.model for call in context.calls] == ["categorizer_ai", "thinking_ai"]
    assert store.kept[0][1].chosen.sorted_by is CategorySource.MODEL
    only_local = Speaking({})
    answer(only_local, turn=replace(TURN, holdout=True), sure=Sure(Category.M, 0.99), source=CategorySource.LOCAL)
    assert [call.model for call in only_local.calls] == ["thinking_ai"]


@pytest.mark.parametrize(
    ("said", "teller"), [("M", CategorySource.MODEL), (TransientError("503"), CategorySource.LOCAL)]
)
def test_who_said_the_letter_is_kept_for_those_who_learn(said: Any, teller: CategorySource) -> None:
    _, store = answer(Speaking({"categorizer_ai": said}))
    assert store.kept[0][1].chosen.sorted_by is teller


def test_a_letter_that_nobody_said_is_nobodys() -> None:
    output, store = answer(Speaking({"categorizer_ai": "perhaps"}))
    assert isinstance(output, Grown)
    assert store.kept[0][1].chosen.sorted_by is None


def test_a_share_is_tried_one_model_lower_unless_evidence_says_more() -> None:
    context = Speaking({"categorizer_ai": "L"})
    output, _ = answer(context, trial=1.0)
    assert (context.calls[-1].model, output["route"]["moved_from"]) == ("medium_ai", "thinking_ai")
    context = Speaking({"categorizer_ai": "L"})
    answer(context, trial=1.0, sure=Sure(move=Move("fast_ai", "as good")))
    assert context.calls[-1].model == "fast_ai"


def test_what_folding_a_session_cost_is_on_the_receipt() -> None:
    history = tuple(Message(n, "user", "word " * 20, datetime.now(UTC)) for n in range(10))
    _, store = answer(Speaking({"categorizer_ai": "M"}), turn=replace(TURN, position=20, history=history))
    assert store.kept[0][1].cost_usd == Decimal("0.003")


def test_what_is_planned_is_acknowledged_and_grows() -> None:
    context = Speaking({"categorizer_ai": "H", "thinking_fast_response_ai": "I begin."})
    output, store = answer(context)
    assert isinstance(output, Grown)
    assert [task.target for block in output.blocks for task in block.tasks] == ["chat_plan", "chat_report"]
    assert output.output["response"] == "I begin."
    assert store.kept[0][0] == "I begin."


def test_a_model_that_fails_leaves_nothing_in_the_session() -> None:
    store = MemoryTurns()
    with pytest.raises(PersistentError):
        answer(Speaking({"categorizer_ai": "M", "medium_ai": PersistentError("no")}), store=store)
    assert store.kept == []


def test_a_model_without_a_word_leaves_nothing_in_the_session_nor_in_its_summary() -> None:
    history = tuple(Message(n, "user", "word " * 20, datetime.now(UTC)) for n in range(10))
    store = MemoryTurns(replace(TURN, position=20, history=history))
    with pytest.raises(LogicalError, match="without a word"):
        answer(Speaking({"categorizer_ai": "M", "fast_ai": "\n", "medium_ai": " "}), store=store)
    assert (store.kept, store.folded) == ([], [])


def test_a_long_session_is_folded_and_a_summary_that_fails_is_done_without() -> None:
    history = tuple(Message(n, "user", "word " * 20, datetime.now(UTC)) for n in range(10))
    long = replace(TURN, position=20, history=history, summary="before")
    context = Speaking({"categorizer_ai": "M", "fast_ai": "in short"})
    _, store = answer(context, turn=long)
    assert store.folded
    assert "in short" in context.calls[-1].history[0]["content"]
    silent = Speaking({"categorizer_ai": "M", "fast_ai": TransientError("503")})
    _, store = answer(silent, turn=long)
    assert store.folded == []
    assert "before" in silent.calls[-1].history[0]["content"]


def test_a_database_that_is_away_is_waited_for_and_counts_no_try() -> None:
    store = MemoryTurns(error=OperationalError("select", {}, Exception("gone")))
    with pytest.raises(StepParked) as parked:
        answer(Speaking({}), store=store)
    assert parked.value.delay_s is not None


def test_a_run_that_is_no_chat_is_refused() -> None:
    with pytest.raises(FatalError):
        answer(Speaking({}), store=MemoryTurns(None))


def test_the_categoriser_sees_the_beginning_and_the_end_of_what_is_long() -> None:
    cut = excerpt("a" * CATEGORY_CHARACTERS + "b" * CATEGORY_CHARACTERS)
    assert cut.startswith("aaa")
    assert cut.endswith("bbb")
    assert len(cut) < CATEGORY_CHARACTERS + 20
