"""Letters that a model said, a training on the learning worker through its death, and chats that ask no categoriser."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.chat.tables import chat_turns
from simulator import Simulator
from tests.acceptance.chat.conftest import CATEGORISER, TOKENS, Chatting
from tests.acceptance.learning.test_likes_through_kills import LearningWorker
from tests.conftest import Servers, cloned_database, emptied
from tests.engine.serving import serving
from tests.engine.trial import open_trial
from tests.integration.learning.chatting import message, sorted_turns

REDIS_NUMBER = 251
TAUGHT = 240


@pytest.fixture
def chatting(servers: Servers, template: str, simulator: Simulator, tmp_path: Path) -> Iterator[Chatting]:
    with cloned_database(servers, template) as database_url:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": emptied(servers.redis.url_of(REDIS_NUMBER)),
            "OPENAI_BASE_URL": simulator.openai_url,
            "OPENAI_API_KEY": "sk-of-the-simulator",
            "API_TOKENS": f"ann:client:{TOKENS['ann']}",
            "ROUTE_HOLDOUT": "0",
        }
        with open_trial(environment, tmp_path) as trial, serving(trial) as url:
            trial.workers.start(1)
            yield Chatting(trial, url, simulator)


def test_what_the_categoriser_said_is_learned_through_a_kill_and_then_it_is_not_asked(
    chatting: Chatting, tmp_path: Path
) -> None:
    trial, application = chatting.trial, chatting.trial.application
    with application.engine.begin() as connection:
        connection.execute(chat_turns.insert(), sorted_turns(TAUGHT))
    chatting.says("M")
    before = chatting.chat(message("L", random.Random(7)))
    assert before["category"] == "M"
    learner = LearningWorker(trial.workers._environment, tmp_path / "learning.log")
    try:
        learner.start()
        assert [training.start_due() for training in application.chat_trainings] == [True, False]
        [run] = application.runs.list_runs(owner=None, kind="category_training").items
        trial.await_step(run.run_id, "train", "running")
        learner.kill()
        learner.start()
        ended = trial.finish(run.run_id, 120)
    finally:
        learner.kill()
    assert application.answers.shape(ended)["status"] == "trained"
    [version] = application.scorers.list_versions("category")
    trial.await_that(lambda: "learned" in chatting.chat(message("L", random.Random(8)))["route"]["reason"], 20)
    chatting.simulator.reset()
    answer = chatting.chat(message("L", random.Random(9)))
    assert (answer["category"], answer["model_used"]) == ("L", "thinking_ai")
    assert version.name in answer["route"]["reason"]
    assert [request for request in chatting.asked() if CATEGORISER in str(request)] == []
