"""Answers kept for the very same question, embeddings, and pieces that are void."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from app.errors import FatalError, PersistentError, ResourceError, StepError, TransientError
from app.gateway.answer_cache import RedisAnswerCache
from app.gateway.embedding import MOST_TEXTS
from app.gateway.fakes import FakeLedger, LocalGate, Said, ScriptedProvider
from app.gateway.model import (
    ChatAnswer,
    ChatRequest,
    EmbeddingAnswer,
    EmbeddingCall,
    EmbeddingRequest,
    Embeddings,
    Keep,
    ModelAnswer,
    ModelCall,
    Usage,
)
from app.gateway.ports import OnText
from app.gateway.registry_file import load_registry
from app.gateway.rendering import answer_life, config_problems
from app.gateway.service import Gateway

TODAY = dt.date(2026, 11, 20)
PRICES = {"in": 1, "out": 2}
KEEP = Keep("ann", 60)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
REGISTRY = load_registry(
    {
        "api_keys": {"openai": ["OPENAI_API_KEY"], "other": ["OTHER_API_KEY"]},
        "models": {
            "talk": {
                "offers": [{"provider": "openai", "model": "t1", "context": 1000, "prices": PRICES}],
                "fallbacks": ["spare"],
            },
            "spare": {"offers": [{"provider": "other", "model": "t2", "context": 1000, "prices": PRICES}]},
            "embedding_ai": {
                "kind": "embedding",
                "offers": [{"provider": "openai", "model": "e1", "context": 1000, "prices": {"in": 1, "out": 0}}],
            },
        },
    }
)


@dataclass
class Memory:
    """A cache in memory; it forgets nothing."""

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def find(self, key: str) -> dict[str, Any] | None:
        return self.kept.get(key)

    async def keep(self, key: str, answer: dict[str, Any], ttl_s: float) -> None:
        assert ttl_s > 0
        self.kept[key] = answer


@dataclass
class Embedder:
    """A vendor that places a text by its length."""

    name: str = "openai"
    fails: list[StepError] = field(default_factory=list)
    asked: list[EmbeddingRequest] = field(default_factory=list)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingAnswer:
        self.asked.append(request)
        if self.fails:
            raise self.fails.pop(0)
        vectors = tuple((float(len(text)), 0.5) for text in request.texts)
        return EmbeddingAnswer(vectors, "e1", Usage(input_tokens=1_000_000))


class World:
    def __init__(self, *says: Said, other: list[Said] | None = None) -> None:
        self.openai = ScriptedProvider(list(says) or ["ok"])
        self.other = ScriptedProvider(other or ["ok"], name="other")
        self.embedder = Embedder()
        self.memory = Memory()
        self.ledger = FakeLedger()
        self.heard: list[str | None] = []
        providers = {"openai": self.openai, **({"other": self.other} if other else {})}
        self.gateway = Gateway(
            REGISTRY,
            providers,
            gate=LocalGate(),
            embedders={"openai": self.embedder},
            answers=self.memory,
            today=lambda: TODAY,
        )

    def ask(self, prompt: str = "hello", keep: Keep | None = KEEP, **more: Any) -> ModelAnswer:
        self.ledger = FakeLedger()
        call = ModelCall("talk", prompt, keep=keep, **more)
        return asyncio.run(self.gateway.complete(call, self.ledger, self.heard.append))

    def embed(self, *texts: str, ledger: FakeLedger | None = None) -> Embeddings:
        self.ledger = ledger or FakeLedger()
        return asyncio.run(self.gateway.embed(EmbeddingCall(texts), self.ledger))


def test_the_same_question_is_answered_again_without_a_call() -> None:
    world = World("first", "second")

    world.ask()
    again = world.ask()

    assert (again.output, again.cached, again.cost_usd, again.usage.total_tokens) == ("first", True, Decimal(0), 0)
    assert world.ledger.rows == []
    assert len(world.openai.requests) == 1
    assert world.heard == ["first", "first"]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "hello?"},
        {"keep": Keep("bob", 60)},
        {"keep": None},
        {"config": {"max_tokens": 7}},
        {"system": ("be kind",)},
        {"history": ({"role": "user", "content": "before"},)},
        {"images": ("data:image/png;base64,AA",)},
        {"tools": ({"name": "clock", "description": "", "input_schema": {"type": "object"}},)},
    ],
)
def test_another_question_or_another_owner_is_asked_anew(change: dict[str, Any]) -> None:
    world = World("first", "second")

    world.ask()

    assert not world.ask(**change).cached
    assert len(world.openai.requests) == 2


def test_how_long_one_would_wait_does_not_make_another_question() -> None:
    world = World()

    world.ask()

    assert world.ask(timeout_s=5).cached


def test_a_picture_s_answer_is_never_kept() -> None:
    world = World()

    world.ask(images=("data:image/png;base64,AA",))

    assert world.memory.kept == {}


def test_an_answer_that_was_cut_off_is_not_kept() -> None:
    world = World(ChatAnswer("half", "length", "t1", "x", Usage()), "whole")

    world.ask()

    assert world.ask().output == "whole"


def test_a_structured_answer_is_kept_as_data_and_an_unusable_one_is_not() -> None:
    world = World("no JSON", '{"n": 1}')

    first = world.ask(config={"response_schema": SCHEMA})
    again = world.ask(config={"response_schema": SCHEMA})

    assert (first.data, again.data, again.cached) == ({"n": 1}, {"n": 1}, True)
    assert len(world.openai.requests) == 2


def test_a_stand_in_s_answer_does_not_take_the_place_of_the_model_that_was_wanted() -> None:
    world = World(PersistentError("no", sent=False, blame="none"), "wanted", other=["stand-in"])

    assert world.ask().output == "stand-in"
    assert world.ask().output == "wanted"


def test_a_try_that_has_an_answer_of_its_own_uses_that() -> None:
    world = World("kept", "own")
    world.ask()
    ledger = FakeLedger()
    asyncio.run(world.gateway.complete(ModelCall("talk", "hello"), ledger))

    answer = asyncio.run(world.gateway.complete(ModelCall("talk", "hello", keep=KEEP), ledger.retry()))

    assert (answer.output, answer.cached) == ("own", False)


@pytest.mark.parametrize(("wish", "ttl_s"), [(True, 3600), ({"ttl_s": 5}, 5), ({}, 3600)])
def test_a_step_wishes_with_a_word_or_with_seconds(wish: Any, ttl_s: float) -> None:
    assert answer_life({"cache": wish}, "ann", 3600) == Keep("ann", ttl_s)
    assert config_problems({"cache": wish}) == {}


@pytest.mark.parametrize("wish", [None, False])
def test_without_a_wish_nothing_is_kept(wish: Any) -> None:
    assert answer_life({"cache": wish}, "ann", 3600) is None
    assert config_problems({"cache": wish}) == {}


@pytest.mark.parametrize("wish", ["yes", 1, {"ttl_s": 0}, {"ttl_s": True}, {"ttl_s": 10**9}, {"seconds": 5}, []])
def test_a_wish_that_cannot_be_read_is_refused(wish: Any) -> None:
    assert set(config_problems({"cache": wish})) == {"cache"}


def test_kept_answers_expire_in_redis_and_their_loss_is_no_fault(redis_url: str) -> None:
    import redis.asyncio

    async def run() -> None:
        async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
            cache = RedisAnswerCache(client)
            await cache.keep("k", {"text": "é"}, 0.05)
            assert await cache.find("k") == {"text": "é"}
            await asyncio.sleep(0.1)
            assert await cache.find("k") is None
            await client.set("answer:k", "{half an ans")
            assert await cache.find("k") is None
        async with redis.asyncio.Redis.from_url("redis://127.0.0.1:1/0") as away:
            await RedisAnswerCache(away).keep("k", {}, 1)
            assert await RedisAnswerCache(away).find("k") is None

    asyncio.run(run())


def test_texts_are_placed_in_their_order_and_paid_for() -> None:
    world = World()

    answer = world.embed("a", "ccc")

    assert answer.vectors == ((1.0, 0.5), (3.0, 0.5))
    assert (answer.model, answer.vendor_model, answer.cost_usd) == ("embedding_ai", "e1", Decimal(1))
    assert [(row.status, row.model) for row in world.ledger.rows] == [("answered", "embedding_ai")]
    assert world.ledger.rows[0].estimate_usd > 0


def test_vectors_of_an_earlier_try_are_used_and_not_bought_again() -> None:
    world = World()
    first = world.embed("a", "ccc")

    again = world.embed("a", "ccc", ledger=world.ledger.retry())

    assert again == first
    assert len(world.embedder.asked) == 1


def test_embeddings_pass_the_same_gate_and_fail_the_same_way() -> None:
    world = World()
    world.embedder.fails = [TransientError("busy", sent=False, blame="model")]

    with pytest.raises(TransientError):
        world.embed("a")
    assert [row.status for row in world.ledger.rows] == ["failed"]
    world.embedder.fails = [PersistentError("who?", sent=False, blame="provider", code="auth")]
    with pytest.raises(PersistentError):
        world.embed("a")
    with pytest.raises(PersistentError, match="auth"):
        world.ask()


@pytest.mark.parametrize("texts", [(), ("",), ("a", "  "), ("a",) * (MOST_TEXTS + 1)])
def test_what_no_vendor_embeds_is_refused_before_money_is_set_aside(texts: tuple[str, ...]) -> None:
    world = World()

    with pytest.raises(FatalError):
        world.embed(*texts)
    assert world.ledger.rows == []


def test_a_model_that_talks_makes_no_embeddings_and_the_other_way_round() -> None:
    world = World()

    with pytest.raises(PersistentError, match="another kind"):
        asyncio.run(world.gateway.embed(EmbeddingCall(("a",), model="talk"), FakeLedger()))
    with pytest.raises(PersistentError, match="another kind"):
        asyncio.run(world.gateway.complete(ModelCall("embedding_ai", "a"), FakeLedger()))


class Halting(ScriptedProvider):
    """Says half, then what it was told to raise, or waits for ever."""

    def __init__(self, name: str, error: StepError | None) -> None:
        super().__init__(name=name)
        self.error = error

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        assert on_text is not None
        self.requests.append(request)
        on_text("half ")
        if self.error is None:
            await asyncio.sleep(60)
        raise self.error or AssertionError


def halted(error: StepError | None, *, other: list[Said] | None = None) -> World:
    world = World(other=other)
    providers = {"openai": Halting("openai", error), **({"other": world.other} if other else {})}
    world.gateway = Gateway(REGISTRY, providers, gate=LocalGate(), today=lambda: TODAY)
    return world


def test_pieces_of_a_model_that_broke_off_are_void_before_its_stand_in_speaks() -> None:
    world = halted(PersistentError("gone", sent=True, blame="retired"), other=["whole"])

    assert world.ask().output == "whole"
    assert world.heard == ["half ", None, "whole"]


def test_pieces_are_void_at_once_when_the_call_comes_again_later() -> None:
    world = halted(TransientError("cut off", sent=True, blame="model"))

    with pytest.raises(TransientError):
        world.ask()
    assert world.heard == ["half ", None]


def test_pieces_of_an_unusable_answer_are_void_also_when_no_other_comes() -> None:
    world = World("none of it JSON")

    with pytest.raises(StepError):
        world.ask(config={"response_schema": SCHEMA})
    assert world.heard == ["none of it JSON", None] * 3


def test_a_stream_that_is_cancelled_counts_at_its_estimate_and_its_pieces_are_void() -> None:
    world = halted(None)

    async def run() -> None:
        async with asyncio.timeout(0.05):
            await world.gateway.complete(ModelCall("talk", "x"), world.ledger, world.heard.append)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    [row] = world.ledger.rows
    assert (row.status, world.ledger.spent_usd) == ("unknown", row.estimate_usd)
    assert isinstance(row.error, ResourceError)
    assert world.heard == ["half ", None]


def test_an_answer_is_the_same_with_and_without_a_listener() -> None:
    world = World("one\ntwo\n")
    heard = world.ask(keep=None)
    unheard = asyncio.run(world.gateway.complete(ModelCall("talk", "hello"), FakeLedger()))

    assert replace(heard, usage=Usage()) == replace(unheard, usage=Usage())
    assert world.heard == ["one\n", "two\n"]
