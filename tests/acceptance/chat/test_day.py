"""A short day of mixed requests over HTTP: verdicts, the share tried lower, the share held out, and the sums."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from app.learning.route import DOLLARS, RouteLessons
from bench.day_http import ANSWER, LADDER, Day, make_day, replay
from simulator import Simulator
from tests.acceptance.chat.conftest import TOKENS, Chatting
from tests.conftest import Servers, cloned_database, emptied
from tests.engine.serving import serving
from tests.engine.trial import open_trial

REDIS_NUMBER = 252
REQUESTS = 60


@pytest.fixture(scope="module")
def lived(
    servers: Servers, template: str, simulator_process: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Chatting, Day]]:
    """A system on which a day has passed; a third of the requests is tried lower, a third of all is held out."""
    simulator_process.reset()
    simulator_process.answer(content=ANSWER)
    with cloned_database(servers, template) as database_url:
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": emptied(servers.redis.url_of(REDIS_NUMBER)),
            "OPENAI_BASE_URL": simulator_process.openai_url,
            "OPENAI_API_KEY": "sk-of-the-simulator",
            "API_TOKENS": f"ann:client:{TOKENS['ann']},boss:admin:{TOKENS['boss']}",
            "CATEGORY_SOURCE": "local",
            "ROUTE_HOLDOUT": "0.3",
            "ROUTE_TRIAL": "0.5",
        }
        with open_trial(environment, tmp_path_factory.mktemp("day")) as trial, serving(trial) as url:
            trial.workers.start(1)
            yield Chatting(trial, url, simulator_process), asyncio.run(pass_day(url))


async def pass_day(url: str) -> Day:
    headers = {"Authorization": f"Bearer {TOKENS['ann']}"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        return await replay(session, make_day(REQUESTS), judged=REQUESTS, lanes=4)


def split(day: Day) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Tell apart what was held out, what was moved down, and what went its documented way."""
    held = [answer for answer in day.answers if answer["route"].get("holdout")]
    moved = [answer for answer in day.answers if "moved_from" in answer["route"]]
    rest = [answer for answer in day.answers if answer not in held and answer not in moved]
    return held, moved, rest


def test_a_share_is_tried_lower_and_what_is_held_out_never_is(lived: tuple[Chatting, Day]) -> None:
    held, moved, rest = split(lived[1])
    assert min(len(held), len(moved), len(rest)) > 3
    assert {answer["model_used"] for answer in held} == {"thinking_ai"}
    assert not any("moved_from" in answer["route"] for answer in held)
    for answer in moved:
        assert LADDER.index(answer["model_used"]) == LADDER.index(answer["route"]["moved_from"]) - 1
        assert "tries a cheaper model" in answer["route"]["reason"]


def test_every_verdict_can_be_learned_from(lived: tuple[Chatting, Day]) -> None:
    chatting, day = lived
    lessons = chatting.trial.application.chat_lessons
    with lessons.engine.connect() as connection:
        verdicts = lessons.read_verdicts(connection)
        rows = RouteLessons(lessons).read(connection)
    assert len(verdicts) == REQUESTS
    assert sum(one.good for one in verdicts) == sum(day.good)
    assert sum(rows.columns[DOLLARS]) == pytest.approx(float(day.spent_usd))  # plain rules cost nothing
    assert {one.model for one in verdicts} == set(LADDER)


def test_below_300_verdicts_no_training_begins(lived: tuple[Chatting, Day]) -> None:
    assert not any(training.start_due() for training in lived[0].trial.application.chat_trainings)


def test_answers_savings_and_ledger_say_the_same_to_the_cent(lived: tuple[Chatting, Day]) -> None:
    chatting, day = lived
    [[ledger]] = chatting.trial.ask("select sum(cost_usd) from calls")
    savings = chatting.ask("GET", "/stats", "boss").json()["savings"]
    assert day.spent_usd == ledger == Decimal(str(savings["dollars_spent"]))
    assert Decimal(str(savings["dollars_always_thinking"])) == day.strong_usd
    assert savings["dollars_saved"] > 0
    held, _, _ = split(day)
    assert (savings["requests"], savings["held_out"]) == (REQUESTS, len(held))


def test_what_was_tried_lower_is_not_counted_as_moved_by_evidence(lived: tuple[Chatting, Day]) -> None:
    savings = lived[0].ask("GET", "/stats", "boss").json()["savings"]
    assert savings["moved"] == 0
    assert savings["loss_of_moved"]["mean"] is None
    cheaper = [answer for answer in lived[1].answers if answer["model_used"] != "thinking_ai"]
    assert savings["loss"]["judged"] == len(cheaper)
