from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from app.http import create_app
from tests.unit.http.fakes import FakeApplication


@pytest.fixture
def application() -> FakeApplication:
    return FakeApplication()


@pytest.fixture
def web(application: FakeApplication) -> FlaskClient:
    app = create_app(application)  # type: ignore[arg-type]  # a stand-in with the parts that these tests touch
    return app.test_client()
