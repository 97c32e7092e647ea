"""A studio on real PostgreSQL, with an engine in one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from app.runs.model import RunView
from app.runs.ports import HandlerCatalog
from app.settings import Settings
from app.studio.agents import StudioAgents, register_handlers
from app.studio.assembly import build_makers
from app.studio.batch import answer_daily_batch, answer_manual_generation
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
    agents: StudioAgents

    def run_daily(self, **asked: Any) -> dict[str, Any]:
        batch = self.service.start_daily_batch(Asked(**asked), LOCAL)
        return answer_daily_batch(self.runs.finish_run(batch.run_id))

    def run_manual(self, **asked: Any) -> dict[str, Any]:
        batch = self.service.start_manual_generation(Asked(**asked), LOCAL)
        return answer_manual_generation(self.runs.finish_run(batch.run_id))

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
        **changes: Any,
    ) -> Studio:
        studio_settings = replace(settings.studio, **changes)
        store = StudioStore.over(engine)
        agents = StudioAgents(store, makers or build_makers(studio_settings), base, studio_settings)
        handlers = HandlerCatalog()
        register_handlers(handlers, agents, studio_settings)
        runs = InlineRuns(handlers)
        setup = StudioSetup(studio_settings, settings.schedule, base=base, version="1.2.3", remote_generator=warms_up)
        service = StudioService(store, runs, setup, now)
        service.prepare_catalogue()
        return Studio(service, store, runs, agents)

    return make


@pytest.fixture
def studio(make_studio: MakeStudio) -> Studio:
    """A studio without any service or base."""
    return make_studio()
