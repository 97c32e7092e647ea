"""Put the studio together from the settings, for the composition root. Nothing is connected or asked here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.studio.agents import StudioAgents
from app.studio.airtable import AirtableBase
from app.studio.making import Makers
from app.studio.plain_generator import PlainGenerator
from app.studio.plain_strategist import PlainStrategist
from app.studio.rate import AirtableRate
from app.studio.remote import RemoteGenerator, RemoteOptimizer, RemoteStrategist, ServiceWire
from app.studio.service import StudioService
from app.studio.starting import StudioSetup
from app.studio.store import StudioStore

if TYPE_CHECKING:
    import redis
    import sqlalchemy as sa

    from app.settings import Settings, StudioSettings
    from app.studio.ports import Runs, StudioBase


def build_base(settings: Settings, client: redis.Redis) -> StudioBase | None:
    """Build the Airtable base; None without key and base."""
    airtable = settings.airtable
    if not airtable.configured:
        return None
    return AirtableBase(airtable, AirtableRate(client, airtable.base_id, airtable.penalty_s))


def build_makers(settings: StudioSettings) -> Makers:
    """Choose who makes what: the users' service where its address is set, else the plain rules."""
    warm_s = settings.warmup_timeout_s

    def wire(title: str, url: str, timeout_s: float) -> ServiceWire:
        return ServiceWire(title, url, timeout_s, warm_s)

    plain_strategist, plain_generator = PlainStrategist(), PlainGenerator()
    strategist = wire("Strategist", settings.strategist_url, settings.strategist_timeout_s)
    generator = wire("Generator", settings.generator_url, settings.generator_timeout_s)
    optimizer = wire("Optimizer", settings.optimizer_url, settings.score_timeout_s)
    return Makers(
        strategist=RemoteStrategist(strategist) if settings.strategist_url else plain_strategist,
        generator=RemoteGenerator(generator) if settings.generator_url else plain_generator,
        optimizer=RemoteOptimizer(optimizer) if settings.optimizer_url else None,
        plain_strategist=plain_strategist,
        plain_generator=plain_generator,
        fallback=settings.fallback,
    )


def build_agents(settings: Settings, engine: sa.Engine, client: redis.Redis) -> StudioAgents:
    """Build the studio's agents, for workers."""
    return StudioAgents(
        StudioStore.over(engine), build_makers(settings.studio), build_base(settings, client), settings.studio
    )


def build_service(
    settings: Settings, engine: sa.Engine, client: redis.Redis, runs: Runs, *, version: str = ""
) -> StudioService:
    """Build the studio's use cases, for doors."""
    setup = StudioSetup(
        settings.studio,
        settings.schedule,
        base=build_base(settings, client),
        version=version,
        remote_generator=bool(settings.studio.generator_url),
    )
    return StudioService(StudioStore.over(engine), runs, setup)
