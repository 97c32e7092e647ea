"""Images and film over HTTP, made by real workers, at the simulated studio."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import requests

from simulator import Simulator
from tests.conftest import Servers, cloned_database, emptied
from tests.engine.serving import serving
from tests.engine.trial import Trial, open_trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]

REDIS_NUMBER = 251
TOKENS = {"ann": "ann-secret", "bob": "bob-secret"}
IMAGES = "/google/v1/models"
FILMS = "/google/v1/interactions"
CALLS = """
select status, cost_usd, response, request from calls where run_id = :run and agent <> 'failure_explainer'
order by step_key, ordinal
"""
SETTLED = {"completed", "partial", "failed", "cancelled"}


@dataclass(frozen=True)
class Studio:
    """A system that makes images and film, and the vendor it asks."""

    trial: Trial
    url: str
    simulator: Simulator

    def ask(self, method: str, path: str, who: str | None = "ann", **given: Any) -> requests.Response:
        """Make a request; nobody's without a name."""
        headers = {"Authorization": f"Bearer {TOKENS[who]}"} if who else {}
        headers |= given.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=120, **given)

    def start(self, *tasks: dict[str, Any], kind: str = "inline", who: str = "ann", **body: Any) -> str:
        """Start a document of one block."""
        document = {"workflow": [{"type": kind, "tasks": list(tasks)}], **body}
        response = self.ask("POST", "/workflow", who, json=document, headers={"Prefer": "respond-async"})
        assert response.status_code == 202, response.text
        return str(response.json()["task_id"])

    def finish(self, run_id: str, who: str = "ann") -> dict[str, Any]:
        """Wait for a run's end."""
        deadline = time.monotonic() + 60
        while (run := self.show(run_id, who))["status"] not in SETTLED:
            assert time.monotonic() < deadline, f"{run}\n{self.trial.tell()}"
            time.sleep(0.05)
        return run

    def run(self, *tasks: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Start a document of one block and wait for its end."""
        return self.finish(self.start(*tasks, **options), options.get("who", "ann"))

    def show(self, run_id: str, who: str = "ann") -> dict[str, Any]:
        """Read a run."""
        run: dict[str, Any] = self.ask("GET", f"/runs/{run_id}", who).json()
        return run

    def orders(self) -> int:
        """How many films were ordered."""
        return self.simulator.count(FILMS, "POST")

    def calls(self, run_id: str) -> list[Any]:
        """The run's ledger: status, cost, response, request; explanations of what failed are left out."""
        return self.trial.ask(CALLS, run=run_id)

    def paid(self, run_id: str) -> Decimal:
        """What those cost, in dollars."""
        return sum((cost or Decimal(0) for _, cost, _, _ in self.calls(run_id)), Decimal(0))


@pytest.fixture(scope="module")
def system(
    servers: Servers, template: str, simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Trial, str]]:
    """One system for a whole module, with two workers."""
    with cloned_database(servers, template) as database_url:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": emptied(servers.redis.url_of(REDIS_NUMBER)),
            "GOOGLE_AI_API_KEY": "k",
            "GOOGLE_AI_BASE_URL": simulator_process.google_url,
            "OPENAI_BASE_URL": simulator_process.openai_url,
            "OPENAI_API_KEY": "sk-of-the-simulator",
            "RATE_LIMIT_GOOGLE_AI_RPM": "0",
            "FILM_POLL_S": "0.3",
            "API_TOKENS": ",".join(f"{name}:client:{secret}" for name, secret in TOKENS.items()),
        }
        with open_trial(environment, tmp_path_factory.mktemp("studio")) as trial:
            trial.workers.start(2)
            with serving(trial) as url:
                yield trial, url


@pytest.fixture
def studio(system: tuple[Trial, str], simulator: Simulator) -> Studio:
    """The system, with a simulator that remembers nothing, models that nothing is held against, and living workers."""
    trial, url = system
    for key in trial.application.redis.scan_iter("breaker:*"):
        trial.application.redis.delete(key)
    if len(trial.workers.living) < 2:
        trial.workers.start(2 - len(trial.workers.living))
    return Studio(trial, url, simulator)
