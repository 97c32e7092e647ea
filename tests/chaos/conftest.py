"""Runs whose processes and servers are killed."""

from __future__ import annotations

from tests.engine.fixtures import own_trial, trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["own_trial", "simulator", "simulator_process", "trial"]
