"""The door of the HTTP tests, and persons behind it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.acceptance.http.conftest import Door, door

__all__ = ["door"]

_ids = itertools.count(1000)
AddPersons = Callable[..., list[int]]


@pytest.fixture
def add_persons(door: Door) -> AddPersons:
    """Store persons with ids nobody else has, one for each given metadata."""

    def add(*metadata: dict[str, Any] | None, names: Sequence[str] = ()) -> list[int]:
        ids = [next(_ids) for _ in metadata]
        rows = [
            {"id": i, "nombre": names[n] if names else f"Person {i}", "genero": "M", "metadata": known}
            for n, (i, known) in enumerate(zip(ids, metadata, strict=True))
        ]
        answer = door.client.post("/v1/persons", json=rows)
        assert answer.status_code == 200, answer.text
        return ids

    return add
