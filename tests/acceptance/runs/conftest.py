"""Runs through real workers."""

from __future__ import annotations

from tests.engine.fixtures import crew, trial

__all__ = ["crew", "trial"]
