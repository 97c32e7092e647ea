"""Batches whose ideas and prompts models make: real workers, asking the simulator."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.runs.model import RunView
from app.studio.batch import answer_daily_batch, answer_manual_generation
from app.studio.model import Asked
from app.studio.starting import StartOptions
from simulator import Simulator
from tests.conftest import Servers, cloned_database, emptied
from tests.engine.trial import Trial, open_trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]

REDIS_NUMBER = 252
CALLS = "/anthropic/v1/messages"
STRATEGIST, GENERATOR = "strategist of a fashion studio", "write prompts for image generators"
_numbers = itertools.count(1)


def places(count: int) -> list[str]:
    """Name places that no other test has named."""
    return [f"tram depot number {next(_numbers)}" for _ in range(count)]


def idea(place: str, **changes: Any) -> dict[str, Any]:
    """Write an idea as a model would."""
    skeleton = (
        f"Full-length photograph of {{subject}} {{pose}} in {{garment}} on the roof of {place}, fogged glass around."
    )
    usual = {
        "skeleton": skeleton,
        "renderer": "",
        "attributes": [{"name": "setting", "value": f"on the roof of {place}"}],
        "parent": "3",
        "rationale": f"It takes the warm garment to {place}.",
    }
    return {**usual, **changes}


@dataclass
class Making:
    """A system, and the models behind it."""

    trial: Trial
    simulator: Simulator

    def propose(self, *ideas: dict[str, Any], times: int | None = None) -> None:
        """Let the Strategist's model say this."""
        self.simulator.answer(json={"ideas": list(ideas)}, contains=STRATEGIST, times=times)

    def write_well(self) -> None:
        """Let the Generator's model write a fitting prompt for each place, whatever it is asked."""
        text = "{skeleton} Details: {suggestions}. Seen from nearby."
        entry = {"number": "{number}", "structure": "{structure}", "text": text}
        self.simulator.answer(lines={"key": "prompts", "entry": entry}, contains=GENERATOR)

    def asked(self, whom: str = "") -> list[dict[str, Any]]:
        """List the questions so far, oldest first."""
        return [entry["body"] for entry in self.simulator.log(CALLS) if whom in str(entry["body"].get("system"))]

    def start(self, max_cost_usd: str | None = None, **asked: Any) -> str:
        """Start a daily batch."""
        options = StartOptions("tester", max_cost_usd=Decimal(max_cost_usd) if max_cost_usd else None)
        return self.trial.application.studio.start_daily_batch(Asked(**asked), options).run_id

    def finish(self, run_id: str) -> tuple[dict[str, Any], RunView]:
        """Wait for a batch's end; gives its answer and its run."""
        view = self.trial.finish(run_id)
        return answer_daily_batch(view), view

    def run(self, **asked: Any) -> tuple[dict[str, Any], RunView]:
        """Make a daily batch."""
        return self.finish(self.start(**asked))

    def generate(self, **asked: Any) -> dict[str, Any]:
        """Make a manual generation."""
        batch = self.trial.application.studio.start_manual_generation(Asked(**asked), StartOptions("tester"))
        return answer_manual_generation(self.trial.finish(batch.run_id))

    def calls(self, run_id: str) -> list[tuple[Any, ...]]:
        """Read the ledger: who asked, and what became of it."""
        return self.trial.ask("select agent, status from calls where run_id = :run order by call_id", run=run_id)


@pytest.fixture
def making(
    database_url: str, redis_url: str, simulator: Simulator, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Making]:
    """A system of the test's own with one worker; a test's parameter adds variables."""
    addresses = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    variables = {name: value.format(simulator=simulator) for name, value in getattr(request, "param", {}).items()}
    with _asking(simulator, tmp_path, {**addresses, **variables}) as trial:
        yield Making(trial, simulator)


@pytest.fixture(scope="module")
def shared_trial(
    servers: Servers, template: str, simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trial]:
    """One system for the tests of a module that leave it as it is."""
    with cloned_database(servers, template) as database_url:
        addresses = {"DATABASE_URL": database_url, "REDIS_URL": emptied(servers.redis.url_of(REDIS_NUMBER))}
        with _asking(simulator_process, tmp_path_factory.mktemp("studio"), addresses) as trial:
            yield trial


@pytest.fixture
def shared(shared_trial: Trial, simulator: Simulator) -> Making:
    """The module's system, with models that remember nothing of other tests."""
    return Making(shared_trial, simulator)


@contextmanager
def _asking(simulator: Simulator, folder: Path, variables: dict[str, str]) -> Iterator[Trial]:
    models = {"ANTHROPIC_BASE_URL": simulator.anthropic_url, "ANTHROPIC_API_KEY": "sk-ant-of-the-simulator"}
    with open_trial({**models, **variables}, folder) as trial:
        trial.application.studio.prepare_catalogue()
        trial.workers.start()
        yield trial
