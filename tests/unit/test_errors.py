"""Errors cross processes: what they carry must arrive. Their statuses are tested with the HTTP door."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest

from app.errors import BatutaError, InvalidError, SettingsError, StepError, StepParked, UnavailableError
from app.runs import ports


def classes(cls: type[BatutaError] = BatutaError) -> Iterator[type[BatutaError]]:
    yield cls
    for below in cls.__subclasses__():
        if below.__module__ in {BatutaError.__module__, ports.__name__}:
            yield from classes(below)


def example(cls: type[BatutaError]) -> BatutaError:
    if issubclass(cls, SettingsError):
        return cls(["PORT='x': must be a whole number"])
    if issubclass(cls, StepParked):
        return cls("slot", delay_s=2.5)
    if issubclass(cls, InvalidError):
        return cls("Not so.", errors={"ideas": ["Too many."]}, code="special")
    if issubclass(cls, (StepError, UnavailableError)):
        return cls("Not now.", retry_after_s=2.5, code="special", setting="PORT")
    return cls("Not so.", code="special", setting="PORT")


@pytest.mark.parametrize("cls", list(classes()))
def test_an_error_arrives_in_another_process_as_it_was(cls: type[BatutaError]) -> None:
    error = example(cls)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - bytes of our own, as in a pool
        assert type(again) is cls
        assert (str(again), again.args, again.code) == (str(error), error.args, error.code)
        assert vars(again) == vars(error)


def test_each_error_has_a_code_of_its_own_in_the_tree() -> None:
    codes = [cls.code for cls in classes()]
    assert len(codes) == len(set(codes))


def test_an_error_without_a_message_shows_its_code() -> None:
    assert str(BatutaError(code="odd")) == "odd"
