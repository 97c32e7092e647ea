from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from app.access.memory import MemoryTokenStore
from app.access.model import Identity, Scope
from app.access.service import TokenService
from app.errors import ForbiddenError, InvalidError, NotFoundError, SettingsError, UnauthenticatedError

CONFIGURED = ("n8n:client:first-secret", "ops:admin:second:secret")


def service(*configured: str, host: str = "127.0.0.1") -> TokenService:
    return TokenService(MemoryTokenStore(), configured=configured, host=host)


def test_a_configured_token_gives_its_scope_and_an_owner_that_outlives_the_secret() -> None:
    identity = service(*CONFIGURED).identify("Bearer first-secret")
    assert identity == Identity(owner="env:n8n", name="n8n", scope=Scope.CLIENT)
    assert service(*CONFIGURED).identify("bearer second:secret").is_admin


def test_a_made_token_is_let_in_and_its_secret_is_kept_nowhere() -> None:
    store = MemoryTokenStore()
    tokens = TokenService(store)
    token, secret = tokens.create_token("cron", Scope.CLIENT)
    assert tokens.identify(f"Bearer {secret}").owner == token.token_id
    assert secret.encode() not in pickle.dumps(store)


def test_namesakes_see_nothing_of_each_other() -> None:
    tokens = service()
    first, second = (tokens.create_token("same", Scope.CLIENT)[1] for _ in range(2))
    assert tokens.identify(f"Bearer {first}").owner != tokens.identify(f"Bearer {second}").owner


@pytest.mark.parametrize(
    "header", ["Basic Zm9vOmJhcg==", "Bearer", "Bearer ", "", "first-secret", "Token first-secret"]
)
def test_another_scheme_is_no_token(header: str) -> None:
    with pytest.raises(UnauthenticatedError):
        service(*CONFIGURED).identify(header)


@pytest.mark.parametrize("secret", ["wrong", "first-secre", "first-secret2", "\ud800", "x" * 100_000])
def test_an_unknown_token_is_refused_also_in_open_mode(secret: str) -> None:
    for tokens in (service(), service(*CONFIGURED)):
        with pytest.raises(ForbiddenError):
            tokens.identify(f"Bearer {secret}")


def test_without_any_token_loopback_is_open_and_an_administrator() -> None:
    identity = service().identify(None)
    assert (identity.owner, identity.is_open, identity.is_admin, identity.sees) == ("local", True, True, None)


def test_the_first_token_ends_open_mode() -> None:
    tokens = service()
    tokens.create_token("first", Scope.CLIENT)
    with pytest.raises(UnauthenticatedError):
        tokens.identify(None)


def test_an_expired_token_does_not_open_the_door_again() -> None:
    tokens = service()
    _, secret = tokens.create_token("short", Scope.CLIENT, datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(ForbiddenError):
        tokens.identify(f"Bearer {secret}")
    with pytest.raises(UnauthenticatedError):
        tokens.identify(None)


def test_a_revoked_token_is_out_at_once() -> None:
    tokens = service()
    token, secret = tokens.create_token("gone", Scope.ADMIN)
    tokens.revoke_token(token.token_id)
    tokens.revoke_token(token.token_id)
    with pytest.raises(ForbiddenError):
        tokens.identify(f"Bearer {secret}")


@pytest.mark.parametrize("token_id", ["", "x", "00000000-0000-0000-0000-000000000000", "'; drop table tokens"])
def test_revoking_what_is_not_there_says_so(token_id: str) -> None:
    with pytest.raises(NotFoundError):
        service().revoke_token(token_id)


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_a_token_needs_a_name(name: str) -> None:
    with pytest.raises(InvalidError):
        service().create_token(name, Scope.CLIENT)


def test_another_address_than_loopback_without_a_token_does_not_start() -> None:
    with pytest.raises(SettingsError, match="API_TOKENS"):
        service(host="0.0.0.0").refuse_open_bind()
    service(*CONFIGURED, host="0.0.0.0").refuse_open_bind()
    service().refuse_open_bind()


def test_another_address_than_loopback_is_never_open() -> None:
    with pytest.raises(UnauthenticatedError):
        service(host="0.0.0.0").identify(None)
