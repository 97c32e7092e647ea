"""The journal without workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.engine.desk import Desk


@pytest.fixture
def desk(engine: sa.Engine) -> Iterator[Desk]:
    """Runs on the test's own database, done by hand."""
    opened = Desk(engine)
    yield opened
    opened.close()
