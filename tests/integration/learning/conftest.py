"""The learning cycle's fixtures: the studio's own."""

from __future__ import annotations

from tests.integration.studio.harness import make_studio, studio

__all__ = ["make_studio", "studio"]
