"""The studio's fixtures beside the simulator of the services and of Airtable."""

from __future__ import annotations

from tests.integration.studio.harness import make_studio, studio

__all__ = ["make_studio", "studio"]
