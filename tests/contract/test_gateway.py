"""The gateway over every vendor's real SDK, counted at the simulated vendor."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.errors import StepError, StepParked
from app.gateway.fakes import FakeLedger, LocalGate
from app.gateway.model import EmbeddingCall, ModelAnswer, ModelCall
from app.gateway.registry import Registry
from app.gateway.registry_file import load_registry, read_registry
from app.gateway.service import Gateway
from app.providers.assembly import SUPPORTED, Vendors, build_vendors
from app.runs.retry import GiveUp, decide
from app.schema import ROOT
from app.settings import Settings
from simulator import Simulator
from tests.contract.test_chat_providers import WIRES, Wire, every_wire

TODAY = dt.date(2026, 11, 20)
SHIPPED = read_registry(ROOT / "orchestration_config.json")
OFFERS = sorted(
    {
        (model.name, offer.provider)
        for model in SHIPPED.models.values()
        if model.kind == "chat"
        for offer in model.offers
    }
)
GONE = {"anthropic": "claude-2", "openai": "gpt-3", "openrouter": "nobody/nothing", "google_ai": "gemini-1"}
TRIES = {
    "key refused": 1,
    "no money": 1,
    "model gone": 1,
    "too many": 5,
    "overloaded": 5,
    "broken": 5,
    "not understood": 1,
    "too large": 1,
}
"""How often one step asks one vendor before it is given up."""


def vendors(simulator: Simulator, *names: str) -> Vendors:
    addresses = {
        "anthropic": {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": simulator.anthropic_url},
        "openai": {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": simulator.openai_url},
        "openrouter": {"OPENROUTER_API_KEY": "k", "OPENROUTER_BASE_URL": simulator.openrouter_url},
        "google_ai": {"GOOGLE_AI_API_KEY": "k", "GOOGLE_AI_BASE_URL": simulator.google_url},
    }
    environment: dict[str, str] = {}
    for name in names:
        environment |= addresses[name]
    return build_vendors(Settings.from_env(environment).models)


def registry_of(wire: Wire, *models: str) -> Registry:
    offers = [
        {
            "provider": wire.name,
            "model": model,
            "prices": {"in": 1, "out": 2},
            "context": 1000,
            "sampling": False,
            "max_tokens_field": wire.request().max_tokens_field,
        }
        for model in models
    ]
    return load_registry({"api_keys": {wire.name: ["SOME_API_KEY"]}, "models": {"talk": {"offers": offers}}})


class Desk:
    """A gateway over some vendors, and one step that asks it until the policy gives up."""

    def __init__(self, registry: Registry, made: Vendors) -> None:
        self.gate = LocalGate()
        self.made = made
        self.gateway = Gateway(registry, made.chat, gate=self.gate, embedders=made.embedding, today=lambda: TODAY)

    def ask(self, *calls: ModelCall) -> list[ModelAnswer]:
        """Ask one after another, each in a step of its own."""

        async def run() -> list[ModelAnswer]:
            try:
                return [await self.gateway.complete(call, FakeLedger()) for call in calls]
            finally:
                await self.gateway.close()

        return asyncio.run(run())

    def persist(self, call: ModelCall) -> tuple[StepError | StepParked, FakeLedger]:
        """Ask as a step does, without its waits, and give what it ended with."""

        async def run() -> tuple[StepError | StepParked, FakeLedger]:
            ledger, tries = FakeLedger(), 0
            try:
                while True:
                    try:
                        await self.gateway.complete(call, ledger)
                    except StepError as error:
                        tries += 1
                        if isinstance(decide(error, tries, random=lambda: 0.0), GiveUp):
                            return error, ledger
                    except StepParked as parked:
                        return parked, ledger
                    ledger = ledger.retry()
            finally:
                await self.gateway.close()

        return asyncio.run(run())


@pytest.mark.parametrize(("model", "provider"), OFFERS)
def test_every_shipped_offer_is_taken_by_its_vendor_as_it_stands(
    model: str, provider: str, simulator: Simulator
) -> None:
    desk = Desk(SHIPPED, vendors(simulator, provider))

    # A call for less than half a millionth of a dollar is free; this one is not.
    [answer] = desk.ask(ModelCall(model, "Say hello. " * 100, system=("Be kind.",), config={"temperature": 0.5}))

    assert (answer.model, answer.provider) == (model, provider)
    assert answer.text
    assert answer.cost_usd > 0


def test_every_vendor_that_can_be_configured_has_offers() -> None:
    assert {provider for _, provider in OFFERS} == set(SUPPORTED) == {wire.name for wire in WIRES}


@every_wire
@pytest.mark.parametrize("happened", sorted(TRIES))
def test_a_step_asks_a_vendor_that_fails_as_often_as_the_policy_says(
    wire: Wire, happened: str, simulator: Simulator
) -> None:
    simulator.fault(wire.path, times=None, **wire.faults[happened])

    _, ledger = Desk(registry_of(wire, wire.model), vendors(simulator, wire.name)).persist(ModelCall("talk", "hello"))

    assert len(wire.bodies(simulator)) == TRIES[happened]
    assert [row.status for row in ledger.rows] == ["failed"] * TRIES[happened]
    assert ledger.spent_usd == 0


@every_wire
@pytest.mark.parametrize(("fault", "tries"), [({"drop": "after"}, 5), ({"delay_s": 2}, 2)], ids=["cut", "slow"])
def test_what_may_have_been_charged_counts_at_its_estimate(
    wire: Wire, fault: dict[str, Any], tries: int, simulator: Simulator
) -> None:
    simulator.fault(wire.path, times=None, **fault)
    call = ModelCall("talk", "hello", timeout_s=0.4)

    _, ledger = Desk(registry_of(wire, wire.model), vendors(simulator, wire.name)).persist(call)

    assert len(wire.bodies(simulator)) == tries
    assert [row.status for row in ledger.rows] == ["unknown"] * tries
    assert ledger.spent_usd == sum((row.estimate_usd for row in ledger.rows), Decimal(0))


@every_wire
def test_a_model_that_is_gone_is_asked_once_and_the_next_one_serves(wire: Wire, simulator: Simulator) -> None:
    desk = Desk(registry_of(wire, GONE[wire.name], wire.model), vendors(simulator, wire.name))

    first, second = desk.ask(ModelCall("talk", "hello"), ModelCall("talk", "hello again"))

    assert first.text
    assert second.text
    assert [body["model"] for body in wire.bodies(simulator)] == [GONE[wire.name], wire.model, wire.model]
    assert desk.gate.reasons == {(wire.name, GONE[wire.name]): "retired"}


@every_wire
def test_a_model_whose_day_has_come_is_not_asked_at_all(wire: Wire, simulator: Simulator) -> None:
    registry = registry_of(wire, wire.model, wire.model)
    talk = registry.models["talk"]
    old = replace(talk.offers[0], model="old", retires_on=TODAY)
    aged = replace(registry, models={"talk": replace(talk, offers=(old, talk.offers[1]))})

    [answer] = Desk(aged, vendors(simulator, wire.name)).ask(ModelCall("talk", "hello"))

    assert answer.text
    assert [body["model"] for body in wire.bodies(simulator)] == [wire.model]
    assert "old" in aged.route("talk", {wire.name}, TODAY).warnings[0]


def test_a_vendor_without_credit_is_left_for_the_next_one(simulator: Simulator) -> None:
    openrouter = next(wire for wire in WIRES if wire.name == "openrouter")
    simulator.fault(openrouter.path, times=None, **openrouter.faults["no money"])
    desk = Desk(SHIPPED, vendors(simulator, *SUPPORTED))

    answers = desk.ask(ModelCall("fast_ai", "hello"), ModelCall("thinking_ai", "hello"))

    assert [answer.provider for answer in answers] == ["openai", "openai"]
    assert len(openrouter.bodies(simulator)) == 1  # the whole vendor is shut, not one model of it


def test_texts_are_placed_by_the_shipped_model(simulator: Simulator) -> None:
    desk = Desk(SHIPPED, vendors(simulator, "openai"))

    async def run() -> Any:
        try:
            return await desk.gateway.embed(EmbeddingCall(("a coat", "a hat")), FakeLedger())
        finally:
            await desk.gateway.close()

    answer = asyncio.run(run())

    assert [len(vector) for vector in answer.vectors] == [1536, 1536]
    assert (answer.provider, answer.vendor_model) == ("openai", "text-embedding-3-small")
