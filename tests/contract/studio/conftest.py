"""The studio's fixtures beside the simulator of the services and of Airtable."""

from __future__ import annotations

from tests.integration.studio.harness import make_studio, studio
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["make_studio", "simulator", "simulator_process", "studio"]
