from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.errors import ConflictError, InvalidError
from app.idempotency.model import KeyedRequest, Outcome, hash_body
from app.idempotency.service import IdempotencyService
from app.idempotency.store import STALE_S, PgKeyStore

RUN = "01a1f910-c1ec-741b-9feb-6b8110c0fa2c"


def keyed(body: object = None, *, owner: str = "local", route: str = "POST /workflow", key: str = "k1") -> KeyedRequest:
    return KeyedRequest(owner, route, key, hash_body(body))


@pytest.fixture
def service(engine: sa.Engine) -> IdempotencyService:
    return IdempotencyService(PgKeyStore(engine), patience_s=5)


def rows(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text("select count(*) from idempotency")).scalar_one())


def test_the_same_key_and_body_start_one_run(service: IdempotencyService) -> None:
    assert service.start_once(keyed(), lambda _: Outcome(run_id=RUN)) == Outcome(run_id=RUN)
    again = service.start_once(keyed(), lambda _: pytest.fail("started twice"))
    assert (again.run_id, again.replayed) == (RUN, True)


def test_another_body_under_a_used_key_is_refused(service: IdempotencyService) -> None:
    service.start_once(keyed({"a": 1}), lambda _: Outcome(run_id=RUN))
    assert service.start_once(keyed({"a": 1.0}), lambda _: Outcome()).run_id == RUN
    with pytest.raises(ConflictError) as caught:
        service.start_once(keyed({"a": 2}), lambda _: pytest.fail("started"))
    assert caught.value.code == "idempotency_key_reused"
    with pytest.raises(ConflictError) as caught:
        service.answer_once(keyed({"a": 2}), lambda: pytest.fail("done"))
    assert caught.value.code == "idempotency_key_reused"


def test_a_key_is_one_owners_and_one_routes(service: IdempotencyService) -> None:
    requests = [keyed(), keyed(owner="other"), keyed(route="POST /x"), keyed(key="k2")]
    made = [service.start_once(request, lambda _: Outcome(status=200)) for request in requests]
    assert [outcome.replayed for outcome in made] == [False] * 4


def test_a_start_that_fails_leaves_neither_key_nor_effect(service: IdempotencyService, engine: sa.Engine) -> None:
    def start(connection: sa.Connection) -> Outcome:
        connection.execute(sa.text("insert into tokens (name, scope, digest) values ('x', 'client', 'd')"))
        raise InvalidError("no")

    with pytest.raises(InvalidError):
        service.start_once(keyed(), start)
    assert rows(engine) == 0
    with engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from tokens")).scalar_one() == 0
    assert not service.start_once(keyed(), lambda _: Outcome(run_id=RUN)).replayed


def test_an_action_that_is_refused_does_not_use_the_key_up(service: IdempotencyService, engine: sa.Engine) -> None:
    def refuse() -> Outcome:
        raise InvalidError("no")

    with pytest.raises(InvalidError):
        service.answer_once(keyed(), refuse)
    assert rows(engine) == 0
    assert service.answer_once(keyed(), lambda: Outcome(status=200, response={"n": 1})).response == {"n": 1}


def test_an_answer_without_a_run_is_given_again(service: IdempotencyService) -> None:
    answer = {"status": "recorded", "list": [1, None, "ä"]}
    service.answer_once(keyed(), lambda: Outcome(status=201, response=answer))
    again = service.answer_once(keyed(), lambda: pytest.fail("done twice"))
    assert (again.status, again.response, again.replayed) == (201, answer, True)


def test_an_answer_without_content_is_an_answer(service: IdempotencyService) -> None:
    service.answer_once(keyed(), lambda: Outcome(status=204))
    assert service.answer_once(keyed(), lambda: pytest.fail("done twice")).status == 204


@pytest.mark.parametrize("use", ["start_once", "answer_once"])
def test_of_many_at_once_one_acts_and_all_get_its_answer(service: IdempotencyService, use: str) -> None:
    acted, lock = [], threading.Lock()

    def act(*_: object) -> Outcome:
        with lock:
            acted.append(1)
        time.sleep(0.2)
        return Outcome(status=200, response={"n": len(acted)})

    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(lambda _: getattr(service, use)(keyed(), act), range(10)))
    assert acted == [1]
    assert [outcome.response for outcome in outcomes] == [{"n": 1}] * 10
    assert sum(outcome.replayed for outcome in outcomes) == 9


def test_who_waits_too_long_for_the_first_is_told_to_come_again(engine: sa.Engine) -> None:
    service = IdempotencyService(PgKeyStore(engine), patience_s=0.2)
    entered, leave = threading.Event(), threading.Event()

    def act() -> Outcome:
        entered.set()
        leave.wait(10)
        return Outcome(status=200)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.answer_once, keyed(), act)
        entered.wait(10)
        with pytest.raises(ConflictError) as caught:
            service.answer_once(keyed(), lambda: pytest.fail("done twice"))
        leave.set()
        assert first.result().status == 200
    assert caught.value.code == "idempotency_key_in_use"


def test_a_dead_process_claim_is_taken_over_and_can_no_longer_write(
    service: IdempotencyService, engine: sa.Engine
) -> None:
    store = PgKeyStore(engine)
    with store.transaction() as connection:
        dead = store.claim_key(connection, keyed())
    assert dead is not None
    with engine.begin() as connection:
        connection.execute(
            sa.text(f"update idempotency set claimed_at = claimed_at - interval '{STALE_S + 1} seconds'")
        )
    assert service.answer_once(keyed(), lambda: Outcome(status=200, response="mine")).response == "mine"
    with store.transaction() as connection:
        assert not store.settle_key(connection, keyed(), dead, Outcome(status=200, response="late"))
        store.release_key(connection, keyed(), dead)
    assert service.answer_once(keyed(), lambda: pytest.fail("done twice")).response == "mine"


def test_after_a_day_a_key_is_new_again(service: IdempotencyService, engine: sa.Engine) -> None:
    service.start_once(keyed({"a": 1}), lambda _: Outcome(run_id=RUN))
    with engine.begin() as connection:
        connection.execute(sa.text("update idempotency set expires_at = clock_timestamp()"))
    fresh = service.start_once(keyed({"a": 2}), lambda _: Outcome(status=200, response="new"))
    assert (fresh.response, fresh.replayed) == ("new", False)


def test_expired_keys_are_cleared_away_and_others_kept(service: IdempotencyService, engine: sa.Engine) -> None:
    service.start_once(keyed(key="old"), lambda _: Outcome(run_id=RUN))
    with engine.begin() as connection:
        connection.execute(sa.text("update idempotency set expires_at = clock_timestamp()"))
    service.start_once(keyed(key="new"), lambda _: Outcome(run_id=RUN))
    assert service.purge_expired() == 1
    assert service.start_once(keyed(key="new"), lambda _: pytest.fail("started twice")).replayed
