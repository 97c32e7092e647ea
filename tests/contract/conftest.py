"""What contract tests share: the vendors' simulator."""

from __future__ import annotations

from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]
