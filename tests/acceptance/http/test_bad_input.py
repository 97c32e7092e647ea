"""Whatever is sent to a route, the answer is a problem that says so, and nothing is half-written.

The routes come from the application's own map: one that is added is tried by itself.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.http import create_app
from app.http.resource import Route
from tests.acceptance.http.conftest import Door
from tests.unit.http.fakes import FakeApplication

UNKNOWN = (
    "x",
    "0",
    "-1",
    "99999999999999999999",
    str(uuid.uuid4()),
    "a%00b",
    "%ff",
    "..%2f..",
    "%F0%9F%98%80",
    "x" * 3000,
)
BROKEN: dict[str, bytes] = {
    "broken": b"{",
    "not utf-8": b'{"a": "\xff"}',
    "nan": b'{"num_prompts": NaN, "max_cost_usd": NaN}',
    "infinite": b'{"max_cost_usd": 1e999}',
    "a nul": b'{"name": "a\\u0000b", "structure_id": "a\\u0000b", "note": "a\\u0000b"}',
    "a lone surrogate": b'{"name": "\\ud800", "structure_id": "\\udfff"}',
    "a huge number": b'{"num_prompts": ' + b"9" * 400 + b"}",
    "endless digits": b'{"num_prompts": ' + b"9" * 9000 + b"}",
    "too deep": b'{"workflow": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "as deep as a parser goes": b'{"value": ' + b"[" * 600 + b"]" * 600 + b"}",
}
WRONG_FIELDS: dict[str, Any] = {
    "workflow": {"a": 1}, "variables": [], "approved": "perhaps", "max_cost_usd": "much", "structures": {"a": 1},
    "num_prompts": 10**18, "num_ideas": [1], "force_retrain": "perhaps", "renderer": {"a": 1}, "priority": 3,
    "name": [], "scope": {}, "expires_at": 5, "record_id": [], "structure_id": True, "image_url": 5, "callback_url": 5,
    "dry_run": "perhaps", "note": {}, "unknown_field": 1,
}  # fmt: skip
WRONG = (b"[]", b"[[]]", b"[null]", b'"text"', b"7", b"1.5", b"true", b"null", json.dumps(WRONG_FIELDS).encode())
AT_ONCE = {"Prefer": "respond-async"}  # whatever is taken by mistake is not waited for
SENSIBLE = {"approved": True, "max_cost_usd": 1, "good": True}
LARGE = b'{"workflow": "' + b"x" * 2_000_000 + b'"}'


@dataclass(frozen=True)
class Endpoint:
    """A method on a path of the map."""

    method: str
    rule: str
    arguments: tuple[str, ...]
    route: Route

    def path(self, value: str = "x") -> str:
        """The path with every argument filled in alike."""
        path = self.rule
        for name in self.arguments:
            path = path.replace(f"<{name}>", value)
        return path

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"


def endpoints() -> Iterator[Endpoint]:
    app = create_app(FakeApplication())  # type: ignore[arg-type]  # only its map is read
    for rule in app.url_map.iter_rules():
        route = getattr(app.view_functions[rule.endpoint], "door_route", None)
        assert isinstance(route, Route), f"{rule} does not say what it demands"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield Endpoint(method, rule.rule, tuple(rule.arguments), route)


ALL = sorted(endpoints(), key=str)
GUARDED = [endpoint for endpoint in ALL if not endpoint.route.rule.is_open]
WITH_BODY = [endpoint for endpoint in ALL if endpoint.method in {"POST", "PUT", "PATCH"}]
WITH_ARGUMENTS = [endpoint for endpoint in ALL if endpoint.arguments]


def assert_problem(answer: TestResponse, *statuses: int) -> None:
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:300]}"
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert set(body) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert body["status"] == answer.status_code
    assert body["detail"]
    for trace in ("Traceback", "psycopg2", "sqlalchemy", 'File "', "postgresql://", "redis://"):
        assert trace not in answer.text


def assert_no_fault(answer: TestResponse) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, f"{answer.status_code}: {answer.text[:300]}"


def test_every_post_reads_its_body_by_a_schema() -> None:
    assert [str(endpoint) for endpoint in WITH_BODY if endpoint.route.body is None] == []


@pytest.mark.parametrize("endpoint", GUARDED, ids=str)
def test_a_wrong_token_is_refused_before_anything_else_is_looked_at(door: Door, endpoint: Endpoint) -> None:
    kept = door.counts()
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}  # monitors on this machine need no token
    for body in (b"{", LARGE, b"{}"):
        answer = door.stranger.open(endpoint.path(), method=endpoint.method, data=body, environ_base=elsewhere)
        assert_problem(answer, 401)
    for header in ("Bearer wrong", "Bearer \u00e4\u00f6", "Bearer " + "x" * 5000):
        answer = door.stranger.open(endpoint.path(), method=endpoint.method, headers={"Authorization": header})
        assert_problem(answer, 403)
    for header in ("Basic eDp5", "", "Bearer", "Bearer  "):
        answer = door.stranger.open(endpoint.path(), method=endpoint.method, headers={"Authorization": header})
        assert_problem(answer, 401)
    assert door.counts() == kept


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=str)
def test_a_body_that_cannot_be_read_is_refused(door: Door, endpoint: Endpoint) -> None:
    kept, path = door.counts(), endpoint.path(str(uuid.uuid4()))
    for body in BROKEN.values():
        assert_problem(door.admin.post(path, data=body, content_type="application/json"), 400)
    assert_problem(door.admin.post(path, data=LARGE, content_type="application/json"), 413)
    unsaid = {"input_stream": io.BytesIO(LARGE), "environ_overrides": {"wsgi.input_terminated": True}}
    assert_problem(door.admin.post(path, content_type="application/json", **unsaid), 413)
    for content_type in (
        "application/xml",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json; charset=x",
    ):
        assert_problem(door.admin.post(path, data=b"{}", content_type=content_type), 415)
    assert door.counts() == kept


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=str)
def test_a_body_of_the_wrong_kind_is_refused(door: Door, endpoint: Endpoint) -> None:
    kept, path = door.counts(), endpoint.path(str(uuid.uuid4()))
    ignores_all = not endpoint.route.body or not endpoint.route.body().fields
    for body in WRONG:
        answer = door.admin.post(path, data=body, content_type="application/json", headers=AT_ONCE)
        if body.startswith(b"{") and ignores_all and endpoint.route.rule.tolerant:
            assert_no_fault(answer)
        else:
            assert_problem(answer, 404, 422)
    assert door.counts() == kept


@pytest.mark.parametrize("endpoint", WITH_ARGUMENTS, ids=str)
def test_an_id_that_nothing_has_is_not_found(door: Door, endpoint: Endpoint) -> None:
    kept = door.counts()
    fields = endpoint.route.body().fields if endpoint.route.body else {}
    body = {name: value for name, value in SENSIBLE.items() if name in fields}
    for value in UNKNOWN:
        answer = door.admin.open(endpoint.path(value), method=endpoint.method, json=body)
        assert_problem(answer, 404)
    assert door.counts() == kept


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in ALL if endpoint.method == "GET"], ids=str)
def test_a_query_that_makes_no_sense_is_refused_or_ignored(door: Door, endpoint: Endpoint) -> None:
    for query in (
        "page=0", "page=-1", "page=x", "page=9999999999999999999999", "page_size=-5", "page_size=x", "page=NaN",
        "status=nonsense", "since=yesterday", "since=9999-99-99", "since=0001-01-01T00:00:00%2B14:00", "kind=%00",
        "timeout=-1", "timeout=x", "timeout=1e9", "kind=%ff%fe", "kind=" + "x" * 5000, "status=%F0%9F%98%80", "a=b&a=c",
    ):  # fmt: skip
        answer = door.admin.get(f"{endpoint.path()}?{query}")
        assert_no_fault(answer)
        answer.close()


@pytest.mark.parametrize("endpoint", WITH_BODY, ids=str)
def test_headers_that_make_no_sense_are_refused_or_ignored(door: Door, endpoint: Endpoint) -> None:
    kept, path = door.counts(), endpoint.path(str(uuid.uuid4()))
    body = {"workflow": 5, "num_prompts": "x", "priority": "x"}
    for key in ("", " ", "x" * 256, "\u00e4", "a\tb"):
        answer = door.admin.post(path, json=body, headers={"Idempotency-Key": key, **AT_ONCE})
        assert_no_fault(answer)
        assert answer.status_code >= 400 or not endpoint.route.body().fields  # type: ignore[misc]  # it has one
    for prefer in ("wait=-1", "wait=9" * 300, "wait=;;,,=", "\u00e4", "respond-async=1"):
        assert_no_fault(door.admin.post(path, json=body, headers={"Prefer": prefer}))
    counts = door.counts()
    assert {name: counts[name] for name in ("runs", "likes", "tokens", "structures")} == {
        name: kept[name] for name in ("runs", "likes", "tokens", "structures")
    }


@pytest.mark.parametrize("endpoint", ALL, ids=str)
def test_another_method_is_405_and_says_which_are_known(door: Door, endpoint: Endpoint) -> None:
    known = {each.method for each in ALL if each.rule == endpoint.rule}
    for method in {"PUT", "PATCH", "DELETE", "TRACE"} - known:
        answer = door.admin.open(endpoint.path(), method=method)
        assert_problem(answer, 405)
        assert known <= set(answer.headers["Allow"].split(", "))


def refused(client: FlaskClient, body: dict[str, Any]) -> dict[str, list[str]]:
    answer = client.post("/structures", json=body)
    assert_problem(answer, 422)
    errors: dict[str, list[str]] = answer.get_json()["errors"]
    return errors


def test_one_bad_structure_among_good_ones_stores_none(door: Door) -> None:
    good = {"structure_id": 1, "skeleton": "A coat, worn"}
    bad: list[dict[str, Any]] = [
        {}, {"structure_id": 2}, {"structure_id": [], "skeleton": "x"}, {"structure_id": 2, "skeleton": 5},
        {"structure_id": 2, "skeleton": "x", "attributes": {"a": {"b": 1}}}, {"structure_id": 2, "skeleton": ""},
        {"structure_id": 2, "skeleton": "x", "attributes": {str(n): n for n in range(65)}},
        {"structure_id": 2, "skeleton": "x", "misspelt": 1}, {"structure_id": 1.5, "skeleton": "x"},
        {"structure_id": 2, "skeleton": "x" * 10_000}, {"structure_id": "x" * 300, "skeleton": "x"}, good,
    ]  # fmt: skip
    kept = door.counts()
    for entry in bad:
        assert refused(door.client, {"structures": [good, entry]})
    assert refused(door.client, {"structures": []})
    assert refused(door.client, {"structures": [good] * 1001})
    assert door.counts() == kept
