"""Runs whose processes and servers are killed."""

from __future__ import annotations

from tests.engine.fixtures import own_trial, trial

__all__ = ["own_trial", "trial"]
