"""A whole system on real servers, to be killed in parts."""

from __future__ import annotations

from tests.engine.fixtures import trial

__all__ = ["trial"]
