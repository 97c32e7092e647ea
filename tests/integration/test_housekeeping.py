"""What the hourly housekeeping takes away, and what it leaves, on a real database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app.bootstrap import Application, build
from app.runs.model import RunRequest
from app.settings import Settings
from tests.engine.documents import inline, parse, tool

AGED = """
insert into studio_marks (run_id, step_key, mark, updated_at)
    select gen_random_uuid(), '0.0', '{}', clock_timestamp() - make_interval(days => days) from unnest(:days) days;
insert into studio_fingerprints (kind, fingerprint, used_at)
    select 'prompt', 'used ' || days, clock_timestamp() - make_interval(days => days) from unnest(:days) days;
insert into vendor_batches (provider, model, mark, status, live_at, ended_at)
    select 'openai', 'm', days::text, 'ended', now(), clock_timestamp() - make_interval(days => days)
    from unnest(:days) days;
insert into idempotency (owner, route, key, body_hash, claim_id, claimed_at, expires_at)
    select 'local', 'POST /workflow', days::text, 'hash', gen_random_uuid(), clock_timestamp(),
        clock_timestamp() + make_interval(days => 30 - days) from unnest(:days) days;
"""


@pytest.fixture
def application(settings: Settings) -> Iterator[Application]:
    built = build(settings)
    yield built
    built.engine.dispose()
    built.redis.close()


def end_run(application: Application, days_ago: int) -> str:
    with application.engine.begin() as connection:
        started = application.runs.start_run(
            RunRequest("workflow", parse([inline(tool("echo"))]), owner="local"), connection
        )
        connection.execute(
            sa.text(
                "update runs set status = 'completed', finished_at = clock_timestamp() - make_interval(days => :days)"
                " where run_id = :run"
            ),
            {"days": days_ago, "run": started.run_id},
        )
    return started.run_id


def left(application: Application, table: str) -> int:
    with application.engine.connect() as connection:
        return int(connection.execute(sa.text(f"select count(*) from {table}")).scalar_one())


def test_what_is_past_its_use_goes_and_the_rest_stays(application: Application) -> None:
    with application.engine.begin() as connection:
        connection.execute(sa.text(AGED), {"days": [1, 1000]})
    kept, _ = end_run(application, 29), end_run(application, 31)
    assert application.housekeeping.keep_house() == {
        "keys": 1,
        "runs": 1,
        "marks": 2,
        "sessions": 0,
        "vendor_batches": 1,
        "assets": 0,
    }
    assert [left(application, table) for table in ("studio_marks", "studio_fingerprints", "idempotency")] == [1, 1, 1]
    assert application.runs.get_run(kept, owner=None).run_id == kept
    assert left(application, "runs") == 1


def test_a_second_round_finds_nothing_to_do(application: Application) -> None:
    end_run(application, 31)
    application.housekeeping.keep_house()
    assert not any(application.housekeeping.keep_house().values())
