"""Fixtures around the simulator, for every test: `tests/conftest.py` takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[Simulator]:
    """Run one simulator for the whole session."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    """Give a simulator that remembers nothing of other tests."""
    simulator_process.reset()
    return simulator_process
