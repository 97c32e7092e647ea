"""A studio on real PostgreSQL, with an engine in one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from app.learning.artifacts import ArtifactFolder
from app.learning.ports import Learner
from app.learning.preference import PreferenceLearner
from app.learning.service import ScorerRegistry
from app.learning.store import PgVersions
from app.runs.model import RunView
from app.runs.ports import HandlerCatalog
from app.settings import Settings
from app.studio.assembly import Agents, assemble_agents, build_learning, build_makers
from app.studio.batch import answer_daily_batch, answer_manual_generation
from app.studio.cycle import LearningCycles
from app.studio.making import Makers
from app.studio.model import Asked
from app.studio.ports import StudioBase
from app.studio.service import StudioService
from app.studio.starting import StartOptions, StudioSetup
from app.studio.store import StudioStore
from tests.integration.studio.inline_runs import InlineRuns

LOCAL = StartOptions("local")


@dataclass
class Studio:
    """A studio that can be used and looked into."""

    service: StudioService
    store: StudioStore
    runs: InlineRuns
    agents: Agents
    registry: ScorerRegistry
    cycles: LearningCycles

    def run_daily(self, **asked: Any) -> dict[str, Any]:
        batch = self.service.start_daily_batch(Asked(**asked), LOCAL)
        return answer_daily_batch(self.runs.finish_run(batch.run_id))

    def run_manual(self, **asked: Any) -> dict[str, Any]:
        batch = self.service.start_manual_generation(Asked(**asked), LOCAL)
        return answer_manual_generation(self.runs.finish_run(batch.run_id))

    def run_cycle(self) -> dict[str, Any]:
        """Run the cycle that was started, and close it as its worker would."""
        run_id = self.store.cycles.peek()
        assert run_id is not None
        view = self.runs.finish_run(run_id)
        self.cycles.close_ended()
        return dict(view.variables["cycle"])

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.store.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    def last_view(self) -> RunView:
        return list(self.runs.views.values())[-1]


MakeStudio = Callable[..., Studio]


@pytest.fixture
def make_studio(settings: Settings, engine: sa.Engine) -> MakeStudio:
    """Builds a studio; every call on the same database."""

    def make(
        *,
        base: StudioBase | None = None,
        makers: Makers | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        warms_up: bool = False,
        learner: Learner | None = None,
        library: Callable[[], str | None] = lambda: None,
        **changes: Any,
    ) -> Studio:
        changed = replace(settings, studio=replace(settings.studio, **changes))
        artifacts = ArtifactFolder(settings.storage.data_dir)
        registry = ScorerRegistry(PgVersions(engine), artifacts, [learner or PreferenceLearner(threads=1)], library)
        store = StudioStore.over(engine)
        handlers = HandlerCatalog()
        runs = InlineRuns(handlers)
        made = makers or build_makers(changed.studio)
        agents = assemble_agents(changed, engine, runs, registry, made, base)
        agents.register(handlers, changed.studio)
        # A batch that waits for its learning cycle lets it run.
        runs.on_park = runs.finish_waiting
        setup = StudioSetup(changed.studio, settings.schedule, base=base, version="1.2.3", remote_generator=warms_up)
        learning = build_learning(changed, engine, runs, registry, base)
        service = StudioService(store, runs, setup, learning, now)
        service.prepare_catalogue()
        return Studio(service, store, runs, agents, registry, learning.cycles)

    return make


@pytest.fixture
def studio(make_studio: MakeStudio) -> Studio:
    """A studio without any service or base."""
    return make_studio()
