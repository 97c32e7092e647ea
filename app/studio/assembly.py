"""Put the studio together from the settings, for the composition root. Nothing is connected or asked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app import __version__
from app.studio.agents import StudioAgents, register_handlers
from app.studio.airtable import AirtableBase
from app.studio.cycle import LearningCycles
from app.studio.cycle_document import CycleShape
from app.studio.learning_agents import LearningAgents, register_learning_handlers
from app.studio.making import Makers
from app.studio.model_generator import ModelGenerator
from app.studio.model_strategist import ModelStrategist
from app.studio.plain_generator import PlainGenerator
from app.studio.plain_strategist import PlainStrategist
from app.studio.ports import LearningParts
from app.studio.rate import AirtableRate
from app.studio.remote import RemoteGenerator, RemoteOptimizer, RemoteStrategist, ServiceWire
from app.studio.scoring import StructureScoring
from app.studio.service import Learning, StudioService
from app.studio.starting import StudioSetup
from app.studio.store import StudioStore
from app.studio.ways import NO_MODELS, ModelWays

if TYPE_CHECKING:
    import redis
    import sqlalchemy as sa

    from app.learning.service import ScorerRegistry
    from app.runs.ports import HandlerCatalog
    from app.settings import Settings, StudioSettings
    from app.studio.ports import Runs, StudioBase


def build_base(settings: Settings, client: redis.Redis) -> StudioBase | None:
    """Build the Airtable base; None without key and base."""
    airtable = settings.airtable
    if not airtable.configured:
        return None
    return AirtableBase(airtable, AirtableRate(client, airtable.base_id, airtable.penalty_s))


def build_makers(settings: StudioSettings, ways: ModelWays = NO_MODELS) -> Makers:
    """Choose who makes what: the users' service where its address is set, else a model, else the plain rules."""
    warm_s = settings.warmup_timeout_s

    def wire(title: str, url: str, timeout_s: float) -> ServiceWire:
        return ServiceWire(title, url, timeout_s, warm_s)

    plain_strategist, plain_generator = PlainStrategist(), PlainGenerator()
    strategist = wire("Strategist", settings.strategist_url, settings.strategist_timeout_s)
    generator = wire("Generator", settings.generator_url, settings.generator_timeout_s)
    optimizer = wire("Optimizer", settings.optimizer_url, settings.score_timeout_s)
    training = wire("Optimizer", settings.optimizer_url, settings.train_timeout_s)
    preferences = wire("Generator", settings.generator_url, settings.update_timeout_s)
    return Makers(
        strategist=RemoteStrategist(strategist) if settings.strategist_url else plain_strategist,
        generator=RemoteGenerator(generator, preferences) if settings.generator_url else plain_generator,
        optimizer=RemoteOptimizer(optimizer, training) if settings.optimizer_url else None,
        plain_strategist=plain_strategist,
        plain_generator=plain_generator,
        fallback=settings.fallback,
        model_strategist=ModelStrategist() if ways.ideas else None,
        model_generator=ModelGenerator() if ways.prompts else None,
    )


def build_learning(
    settings: Settings, engine: sa.Engine, runs: Runs, registry: ScorerRegistry, base: StudioBase | None
) -> Learning:
    """Build the cycles and our own scoring."""
    store, studio = StudioStore.over(engine), settings.studio
    shape = CycleShape(
        trains_here=not studio.optimizer_url,
        tells_generator=bool(studio.generator_url),
        writes_scores=base is not None and base.has_structures,
    )
    cycles = LearningCycles(store, runs, studio, shape)
    return Learning(cycles, StructureScoring(store, registry, studio.default_renderer))


@dataclass(frozen=True)
class Agents:
    """All the studio's agents."""

    batches: StudioAgents
    learning: LearningAgents

    def register(self, catalog: HandlerCatalog, settings: StudioSettings) -> None:
        """Add them to the installation's."""
        register_handlers(catalog, self.batches, settings)
        register_learning_handlers(catalog, self.learning, settings)


def build_agents(
    settings: Settings,
    engine: sa.Engine,
    client: redis.Redis,
    runs: Runs,
    registry: ScorerRegistry,
    *,
    ways: ModelWays = NO_MODELS,
) -> Agents:
    """Build the studio's agents, for workers."""
    makers = build_makers(settings.studio, ways)
    return assemble_agents(settings, engine, runs, registry, makers, build_base(settings, client))


def assemble_agents(
    settings: Settings,
    engine: sa.Engine,
    runs: Runs,
    registry: ScorerRegistry,
    makers: Makers,
    base: StudioBase | None,
) -> Agents:
    """Put the agents together from parts."""
    store, studio = StudioStore.over(engine), settings.studio
    learning = build_learning(settings, engine, runs, registry, base)
    taker = makers.generator if isinstance(makers.generator, RemoteGenerator) else None
    writes = base if base is not None and base.has_structures else None
    return Agents(
        StudioAgents(store, makers, base, studio, learning.cycles, learning.scoring),
        LearningAgents(
            store,
            learning.cycles,
            registry,
            learning.scoring,
            LearningParts(makers.optimizer, taker, writes),
            studio,
        ),
    )


def build_service(
    settings: Settings,
    engine: sa.Engine,
    client: redis.Redis,
    runs: Runs,
    registry: ScorerRegistry,
    *,
    ways: ModelWays = NO_MODELS,
) -> StudioService:
    """Build the studio's use cases, for doors."""
    base = build_base(settings, client)
    setup = StudioSetup(
        settings.studio,
        settings.schedule,
        base=base,
        version=__version__,
        remote_generator=bool(settings.studio.generator_url),
        ways=ways,
    )
    learning = build_learning(settings, engine, runs, registry, base)
    return StudioService(StudioStore.over(engine), runs, setup, learning)
