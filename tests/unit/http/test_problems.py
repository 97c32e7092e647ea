from __future__ import annotations

import inspect
from collections.abc import Iterator
from http import HTTPStatus

import pytest
import sqlalchemy.exc

from app import errors
from app.http.problems import AWAY, STATUSES, flatten, status_of


def leaves(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    for below in cls.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from leaves(below)


@pytest.mark.parametrize("cls", [errors.BatutaError, *leaves(errors.BatutaError)])
def test_every_error_has_a_row(cls: type[BaseException]) -> None:
    assert cls in STATUSES


def test_no_row_is_for_an_error_that_is_gone() -> None:
    known = {cls for _, cls in inspect.getmembers(errors, inspect.isclass)}
    assert set(STATUSES) <= known


def test_a_nouns_own_error_takes_the_status_of_what_it_is() -> None:
    class MeetingFullError(errors.ConflictError):
        code = "meeting_full"

    assert status_of(MeetingFullError()) is HTTPStatus.CONFLICT
    assert status_of(KeyError()) is HTTPStatus.INTERNAL_SERVER_ERROR


def test_every_way_a_driver_says_it_lost_the_server_is_known() -> None:
    lost = sqlalchemy.exc.OperationalError("select 1", {}, Exception("server closed the connection"))
    assert isinstance(lost, AWAY)
    assert isinstance(sqlalchemy.exc.TimeoutError(), AWAY)
    assert not isinstance(sqlalchemy.exc.DataError("select 1", {}, Exception()), AWAY)


def test_nested_messages_come_out_as_dotted_paths() -> None:
    messages = {"structures": {0: {"skeleton": ["Missing."]}, 2: {"_schema": ["Odd."]}}, "_schema": ["Empty."]}
    assert flatten(messages) == {"structures.0.skeleton": ["Missing."], "structures.2": ["Odd."], "body": ["Empty."]}
