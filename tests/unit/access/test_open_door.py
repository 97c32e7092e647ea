"""How long a loopback address goes without tokens, once the first one is made."""

from __future__ import annotations

import pytest

from app.access.memory import MemoryTokenStore
from app.access.model import Scope
from app.access.service import OPEN_FOR_S, TokenService
from app.errors import UnauthenticatedError


class CountingStore(MemoryTokenStore):
    """Counts how often it is asked whether there are tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def has_tokens(self) -> bool:
        self.asked += 1
        return super().has_tokens()


class Clock:
    """Stands still until it is moved."""

    at_s = 100.0

    def __call__(self) -> float:
        return self.at_s


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(store: CountingStore, clock: Clock) -> TokenService:
    return TokenService(store, now=clock)


def test_a_token_made_here_shuts_the_open_door_at_once(service: TokenService) -> None:
    assert service.identify(None).is_open
    service.create_token("first", Scope.CLIENT)
    with pytest.raises(UnauthenticatedError):
        service.identify(None)


def test_a_token_made_elsewhere_shuts_it_after_a_second(
    service: TokenService, store: CountingStore, clock: Clock
) -> None:
    assert service.identify(None).is_open
    TokenService(store).create_token("elsewhere", Scope.CLIENT)
    clock.at_s += OPEN_FOR_S
    with pytest.raises(UnauthenticatedError):
        service.identify(None)


def test_a_shut_door_is_looked_at_each_time_so_that_the_last_revocation_opens_it(
    service: TokenService, store: CountingStore
) -> None:
    token, _ = service.create_token("only", Scope.CLIENT)
    with pytest.raises(UnauthenticatedError):
        service.identify(None)
    service.revoke_token(token.token_id)
    assert service.identify(None).is_open


def test_many_requests_ask_the_store_once_a_second(service: TokenService, store: CountingStore, clock: Clock) -> None:
    for _ in range(50):
        service.identify(None)
    assert store.asked == 1
    clock.at_s += OPEN_FOR_S
    service.identify(None)
    assert store.asked == 2
