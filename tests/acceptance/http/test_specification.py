"""The OpenAPI document says what the routes do: requests made from it find no fault, and answers fit it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.http import create_app
from tests.acceptance.http.conftest import ADMIN, Door
from tests.unit.http.fakes import FakeApplication


def no_fault(context: object, response: schemathesis.Response, case: object) -> None:
    """Hold to the rule: 503 says honestly that something is not there; no other 5xx may come."""
    del context, case
    assert response.status_code < 500 or response.status_code == 503


CHECKS = [no_fault, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 25  # a route; `make prove` and the command line of schemathesis try more


@pytest.fixture(scope="module")
def specification(door: Door) -> Any:
    return schemathesis.openapi.from_wsgi("/openapi.json", door.app)


def operations() -> list[tuple[str, str]]:
    app = create_app(FakeApplication())  # type: ignore[arg-type]  # only its document is read
    document = app.test_client().get("/openapi.json").get_json()
    return [
        (method, path)
        for path, item in document["paths"].items()
        for method in item
        if method in {"get", "post", "delete"}
    ]


# By hand and not by schemathesis's own decorator, which pytest 9.2 does not load.
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), operations())
def test_requests_made_from_the_document_find_no_fault(
    specification: Any, method: str, path: str, mode: GenerationMode
) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(specification[path][method].as_strategy(generation_mode=mode))
    def try_once(case: schemathesis.Case[Any]) -> None:
        case.headers["Authorization"] = f"Bearer {ADMIN}"
        case.headers["Prefer"] = "respond-async"  # no worker runs here
        case.call_and_validate(checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # some routes have nothing that could be wrong
        try_once()


def test_the_document_is_of_the_version_it_says_and_names_every_route(door: Door) -> None:
    document = door.stranger.get("/openapi.json").get_json()
    assert document["openapi"] == "3.1.0"
    rules = {rule.rule.replace("<", "{").replace(">", "}") for rule in door.app.url_map.iter_rules()}
    assert rules - set(document["paths"]) == {"/openapi.json", "/docs", "/docs/start.js", "/docs/{name}"}


def test_every_operation_names_its_problems(door: Door) -> None:
    document = door.stranger.get("/openapi.json").get_json()
    for path, item in document["paths"].items():
        for method in set(item) & {"get", "post", "delete"}:
            statuses = set(item[method]["responses"])
            if item[method]["security"]:
                assert {"401", "403", "503"} <= statuses, (method, path)
            if method == "post":
                assert {"400", "409", "413", "415", "422"} <= statuses, (method, path)
            if "{" in path:
                assert "404" in statuses, (method, path)
