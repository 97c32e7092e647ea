"""No request holds one connection while it waits for another: a pool full of such requests waits for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.bootstrap import build
from app.http import create_app
from tests.acceptance.http.conftest import ADMIN, Door, cloned_database, close_listener
from tests.conftest import Servers, emptied

REDIS_NUMBER = 252
STEP = {"tasks": [{"tool": "echo", "input": {}}]}
POSTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/workflow", {"workflow": [STEP]}),
    ("/chat", {"message": "Why?", "session_id": "one"}),
    ("/chat/warmup", {}),
    ("/template/research_report", {"topic": "tides"}),
    ("/events/daily_batch", {}),
    ("/events/manual_generate", {"num_prompts": 1}),
    ("/trigger_retrain", {}),
    ("/events/like", {"record_id": "rec1"}),
)


@pytest.fixture(scope="module")
def narrow_door(servers: Servers, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door whose pool has one connection."""
    with cloned_database(servers, template) as database_url:
        settings = servers.settings(
            DATABASE_URL=database_url,
            REDIS_URL=emptied(servers.redis.url_of(REDIS_NUMBER)),
            DATA_DIR=str(tmp_path_factory.mktemp("narrow")),
            DATABASE_POOL_SIZE="1",
            API_TOKENS=f"boss:admin:{ADMIN}",
            OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        )
        application = build(settings)
        yield Door(application, create_app(application))
        close_listener(application)
        application.engine.dispose()
        application.redis.close()


@pytest.mark.parametrize(("path", "body"), POSTS)
def test_a_post_takes_one_connection_at_a_time(narrow_door: Door, path: str, body: dict[str, Any]) -> None:
    for number in range(2):  # the second batch joins the first, and finds what the first has opened
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"{path} {number}"}
        answer = narrow_door.admin.post(path, json=body, headers=headers)
        assert answer.status_code in {200, 202, 409}, answer.text
