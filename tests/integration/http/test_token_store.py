from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.access.memory import MemoryTokenStore
from app.access.model import Scope
from app.access.ports import TokenStore
from app.access.service import TokenService
from app.access.store import PgTokenStore
from app.errors import ForbiddenError


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[TokenStore]:
    if request.param == "memory":
        yield MemoryTokenStore()
    else:
        yield PgTokenStore(request.getfixturevalue("engine"))


def test_a_token_is_found_by_its_digest_alone(store: TokenStore) -> None:
    token = store.add_token("n8n", Scope.ADMIN, "d1", None)
    assert store.find_token("d1") == token
    assert (token.name, token.scope, token.usable, token.last_used_at) == ("n8n", Scope.ADMIN, True, None)
    assert store.find_token("d") is None
    assert store.find_token("D1") is None


def test_an_expired_token_is_told_apart(store: TokenStore) -> None:
    now = datetime.now(UTC)
    store.add_token("old", Scope.CLIENT, "d1", now - timedelta(seconds=1))
    store.add_token("new", Scope.CLIENT, "d2", now + timedelta(hours=1))
    old, new = store.find_token("d1"), store.find_token("d2")
    assert old is not None
    assert new is not None
    assert (old.expired, old.usable, new.expired, new.usable) == (True, False, False, True)


def test_revoking_is_kept_and_can_be_repeated(store: TokenStore) -> None:
    token = store.add_token("n8n", Scope.CLIENT, "d1", None)
    assert store.has_tokens()
    assert store.revoke_token(token.token_id)
    assert store.revoke_token(token.token_id)
    assert not store.revoke_token("00000000-0000-0000-0000-000000000000")
    assert not store.has_tokens()
    assert [listed.revoked for listed in store.list_tokens()] == [True]


def test_a_use_is_noted(store: TokenStore) -> None:
    token = store.add_token("n8n", Scope.CLIENT, "d1", None)
    store.note_use(token.token_id)
    used = store.find_token("d1")
    assert used is not None
    assert used.last_used_at is not None
    assert used.use_is_fresh


def test_the_newest_token_is_listed_first(store: TokenStore) -> None:
    for number in range(3):
        store.add_token(f"t{number}", Scope.CLIENT, f"d{number}", None)
    assert [token.name for token in store.list_tokens()] == ["t2", "t1", "t0"]


def test_the_table_holds_no_secret(engine: sa.Engine) -> None:
    tokens = TokenService(PgTokenStore(engine))
    _, secret = tokens.create_token("n8n", Scope.CLIENT)
    with engine.connect() as connection:
        row = connection.execute(sa.text("select tokens::text from tokens")).scalar_one()
    assert secret not in row
    assert secret.removeprefix("batuta_") not in row


def test_a_use_is_written_once_a_minute_and_not_at_every_request(engine: sa.Engine) -> None:
    tokens = TokenService(PgTokenStore(engine))
    _, secret = tokens.create_token("n8n", Scope.CLIENT)
    tokens.identify(f"Bearer {secret}")
    [first] = tokens.list_tokens()
    tokens.identify(f"Bearer {secret}")
    assert tokens.list_tokens() == [first]
    with engine.begin() as connection:
        connection.execute(sa.text("update tokens set last_used_at = last_used_at - interval '61 seconds'"))
    tokens.identify(f"Bearer {secret}")
    [again] = tokens.list_tokens()
    assert again.last_used_at is not None
    assert first.last_used_at is not None
    assert again.last_used_at > first.last_used_at


def test_a_token_expires_by_the_databases_clock(engine: sa.Engine) -> None:
    tokens = TokenService(PgTokenStore(engine))
    _, secret = tokens.create_token("short", Scope.CLIENT, datetime.now(UTC) + timedelta(hours=1))
    tokens.identify(f"Bearer {secret}")
    with engine.begin() as connection:
        connection.execute(sa.text("update tokens set expires_at = clock_timestamp()"))
    with pytest.raises(ForbiddenError):
        tokens.identify(f"Bearer {secret}")
