"""Workflows and templates over HTTP, done by real workers, answered by the simulator on OpenAI's wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from simulator import Simulator
from tests.conftest import Servers, cloned_database, emptied
from tests.engine.serving import quieten, serving
from tests.engine.trial import Trial, open_trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]

REDIS_NUMBER = 252
TOKEN = "ann-secret"
EXPLAINER = "A step of an automated piece of work has failed for good"
CALLS = "/openai/v1/chat"


@dataclass(frozen=True)
class Office:
    """A system that answers in text only, its address, and the models behind it."""

    trial: Trial
    url: str
    simulator: Simulator

    def ask(self, method: str, path: str, **given: Any) -> requests.Response:
        """Make a request."""
        headers = {"Authorization": f"Bearer {TOKEN}", **given.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=120, **given)

    def run(self, *tasks: dict[str, Any], kind: str = "linear", **body: Any) -> dict[str, Any]:
        """Run a document of one block to its end."""
        response = self.ask("POST", "/workflow", json={"workflow": [{"type": kind, "tasks": list(tasks)}], **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def template(self, path: str, **variables: Any) -> dict[str, Any]:
        """Run a template to its end."""
        response = self.ask("POST", f"/template/{path}", json=variables)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def asked(self, part: str = "") -> list[dict[str, Any]]:
        """List what models were asked, oldest first: those conversations that hold a text."""
        bodies = [entry["body"] for entry in self.simulator.log(CALLS)]
        return [body for body in bodies if part in str(body["messages"])]


@pytest.fixture(scope="module")
def system(
    servers: Servers, template: str, simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Trial, str]]:
    """One system with a worker for a whole module."""
    with cloned_database(servers, template) as database_url:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": emptied(servers.redis.url_of(REDIS_NUMBER)),
            "OPENAI_BASE_URL": simulator_process.openai_url,
            "OPENAI_API_KEY": "sk-of-the-simulator",
            "API_TOKENS": f"ann:client:{TOKEN}",
        }
        with open_trial(environment, tmp_path_factory.mktemp("office")) as trial:
            trial.workers.start(1)
            with serving(trial) as url:
                yield trial, url


@pytest.fixture
def office(system: tuple[Trial, str], simulator: Simulator) -> Office:
    """The system, with a simulator that remembers nothing, and models that nothing is held against."""
    trial, url = system
    quieten(trial, simulator)
    for key in trial.application.redis.scan_iter("breaker:*"):
        trial.application.redis.delete(key)
    return Office(trial, url, simulator)
