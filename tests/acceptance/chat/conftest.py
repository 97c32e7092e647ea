"""Chats over HTTP, done by real workers, answered by the simulator."""

from __future__ import annotations

import json
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

REDIS_NUMBER = 253
TOKENS = {"ann": "ann-secret", "bob": "bob-secret", "boss": "boss-secret"}
CATEGORISER = "You sort one request into a category"
PLANNER = "Here you plan work for other models"
ACKNOWLEDGER = "A longer piece of work has just begun"
REPORTER = "Work is finished, and you tell the person"
CALLS = "/openai/v1/chat"


@dataclass(frozen=True)
class Chatting:
    """A system, its address, and the models behind it."""

    trial: Trial
    url: str
    simulator: Simulator

    def ask(self, method: str, path: str, who: str = "ann", **given: Any) -> requests.Response:
        """Make a request as somebody."""
        headers = {"Authorization": f"Bearer {TOKENS[who]}", **given.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=120, **given)

    def chat(self, message: str, who: str = "ann", headers: dict[str, str] | None = None, **body: Any) -> Any:
        """Send a message; the answer must be 200."""
        response = self.ask("POST", "/chat", who, json={"message": message, **body}, headers=headers or {})
        assert response.status_code == 200, response.text
        return response.json()

    def stream(self, message: str, headers: dict[str, str] | None = None, **body: Any) -> list[tuple[str, Any]]:
        """Send a message and read its answer's events."""
        given = {"message": message, "stream": True, **body}
        with self.ask("POST", "/chat", json=given, headers=headers or {}, stream=True) as response:
            assert response.status_code == 200, response.text
            assert response.headers["Content-Type"].startswith("text/event-stream")
            return list(read_events(response))

    def session(self, session_id: str, who: str = "ann") -> Any:
        """Read a session."""
        return self.ask("GET", f"/session/{session_id}", who)

    def lines(self, session_id: str) -> list[tuple[str, str]]:
        """Read a session's messages: role and text."""
        return [(line["role"], line["content"]) for line in self.session(session_id).json()["messages"]]

    def says(self, letter: str) -> None:
        """Let the categoriser say a letter."""
        self.simulator.answer(content=letter, contains=CATEGORISER)

    def asked(self) -> list[dict[str, Any]]:
        """List what models were asked so far, oldest first."""
        return [entry["body"] for entry in self.simulator.log(CALLS)]

    def result(self, task_id: str) -> Any:
        """Wait for a run's end, and give it."""
        return self.ask("GET", f"/runs/{task_id}/wait?timeout=60").json()


def read_events(response: requests.Response) -> Iterator[tuple[str, Any]]:
    """Read server-sent events as they come."""
    name = ""
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


@pytest.fixture(scope="module")
def system(
    servers: Servers, template: str, simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Trial, str]]:
    """One system with two workers for a whole module."""
    with cloned_database(servers, template) as database_url:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": emptied(servers.redis.url_of(REDIS_NUMBER)),
            "OPENAI_BASE_URL": simulator_process.openai_url,
            "OPENAI_API_KEY": "sk-of-the-simulator",
            "API_TOKENS": f"ann:client:{TOKENS['ann']},bob:client:{TOKENS['bob']},boss:admin:{TOKENS['boss']}",
            "CALLBACK_ALLOWED_HOSTS": "127.0.0.1",
            "CALLBACK_SECRET": "a secret of sixteen characters or more",
            "ROUTE_HOLDOUT": "0",
            "SESSION_HISTORY_TOKENS": "600",
        }
        with open_trial(environment, tmp_path_factory.mktemp("chat")) as trial, serving(trial) as url:
            trial.workers.start(2)
            yield trial, url


@pytest.fixture
def chatting(system: tuple[Trial, str], simulator: Simulator) -> Chatting:
    """The module's system, with models that remember nothing of other tests."""
    trial, url = system
    quieten(trial, simulator)
    return Chatting(trial, url, simulator)
