from __future__ import annotations

import io
import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.access.model import Scope
from app.access.service import TokenService
from app.http import create_app
from app.http.bodies import BODY_LENGTH_MAX
from app.settings import Settings
from tests.unit.http.fakes import FakeApplication

PROBLEM = {"type", "title", "status", "detail", "code", "errors", "request_id"}
DOCUMENT = {"workflow": [{"tasks": [{"agent": "echo"}]}]}


def code_of(answer: TestResponse) -> tuple[int, str]:
    assert answer.content_type == "application/problem+json"
    body = answer.get_json()
    assert set(body) == PROBLEM
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return answer.status_code, body["code"]


def make_token(application: FakeApplication, scope: Scope) -> dict[str, str]:
    return {"Authorization": "Bearer " + application.tokens.create_token("test", scope)[1]}


# --- who may call ----------------------------------------------------------------------------------------------------


def test_open_routes_ask_for_no_token(web: FlaskClient, application: FakeApplication) -> None:
    make_token(application, Scope.CLIENT)
    for path in ("/", "/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui.css"):
        with web.get(path) as answer:
            assert answer.status_code == 200


def test_a_missing_token_is_401_and_says_which_scheme(web: FlaskClient, application: FakeApplication) -> None:
    make_token(application, Scope.CLIENT)
    answer = web.get("/runs")
    assert code_of(answer) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert code_of(web.get("/runs", headers={"Authorization": "Basic eA=="})) == (401, "unauthenticated")


def test_a_wrong_token_is_403_also_while_none_exists(web: FlaskClient) -> None:
    assert code_of(web.get("/runs", headers={"Authorization": "Bearer nonsense"})) == (403, "forbidden")


def test_the_token_is_judged_before_the_body(web: FlaskClient, application: FakeApplication) -> None:
    make_token(application, Scope.CLIENT)
    assert code_of(web.post("/workflow", data=b"{"))[0] == 401
    assert code_of(web.post("/workflow", data=b"{" * 2_000_000))[0] == 401


def test_a_client_may_not_do_what_is_an_administrators(web: FlaskClient, application: FakeApplication) -> None:
    client = make_token(application, Scope.CLIENT)
    assert code_of(web.get("/tokens", headers=client)) == (403, "scope_too_small")
    assert web.get("/tokens", headers=make_token(application, Scope.ADMIN)).status_code == 200


def test_another_tokens_run_is_not_there_and_an_administrator_sees_it(
    web: FlaskClient, application: FakeApplication
) -> None:
    mine, other, admin = (make_token(application, scope) for scope in (Scope.CLIENT, Scope.CLIENT, Scope.ADMIN))
    run_id = web.post("/workflow", json=DOCUMENT, headers=mine).get_json()["task_id"]
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/wait?timeout=0", f"/runs/{run_id}/events"):
        assert code_of(web.get(path, headers=other)) == (404, "run_not_found")
        assert web.get(path, headers=mine).status_code == 200
        assert web.get(path, headers=admin).status_code == 200
    assert web.get("/runs", headers=other).get_json() == []
    assert [run["task_id"] for run in web.get("/runs", headers=admin).get_json()] == [run_id]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "192.168.1.5:8001", "[::2]"]
)
def test_open_mode_refuses_foreign_names(web: FlaskClient, host: str) -> None:
    assert code_of(web.get("/runs", headers={"Host": host})) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["localhost", "localhost:8001", "127.0.0.1:8001", "[::1]:8001"])
def test_open_mode_serves_loopback_names(web: FlaskClient, host: str) -> None:
    assert web.get("/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "file://", "http://[", ""])
def test_open_mode_refuses_foreign_pages(web: FlaskClient, application: FakeApplication, origin: str) -> None:
    headers = {"Host": "localhost:8001", "Origin": origin}
    assert code_of(web.post("/workflow", json=DOCUMENT, headers=headers)) == (403, "foreign_origin")
    assert application.runs.requests == []


def test_open_mode_serves_its_own_pages(web: FlaskClient) -> None:
    headers = {"Host": "localhost:8001", "Origin": "http://localhost:8001"}
    assert web.post("/workflow", json=DOCUMENT, headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_open_mode_refuses_what_another_site_fetches_without_an_origin(web: FlaskClient, site: str) -> None:
    assert code_of(web.get("/runs", headers={"Sec-Fetch-Site": site})) == (403, "foreign_origin")


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_open_mode_serves_what_its_own_pages_and_people_fetch(web: FlaskClient, site: str) -> None:
    assert web.get("/runs", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_with_a_token_any_name_is_served(web: FlaskClient, application: FakeApplication) -> None:
    headers = {**make_token(application, Scope.CLIENT), "Host": "batuta.example", "Origin": "https://pages.example"}
    assert web.get("/runs", headers=headers).status_code == 200


def test_an_address_beyond_loopback_without_a_token_does_not_start() -> None:
    application = FakeApplication(settings=Settings.from_env({"HOST": "0.0.0.0"}))
    application.tokens = TokenService(application.tokens._store, host="0.0.0.0")
    with pytest.raises(Exception, match="API_TOKENS"):
        create_app(application)  # type: ignore[arg-type]  # a stand-in


# --- errors ----------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_a_problem_too(web: FlaskClient) -> None:
    missing = web.get("/nowhere")
    assert code_of(missing) == (404, "not_found")
    assert "/docs" in missing.get_json()["detail"]
    answer = web.delete("/workflow")
    assert code_of(answer) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_a_fault_of_ours_tells_nothing_of_its_cause(web: FlaskClient, application: FakeApplication) -> None:
    def break_down() -> None:
        raise RuntimeError("postgresql://user:secret@10.0.0.1/x")

    application.runs.before["get_run"] = break_down
    answer = web.get(f"/runs/{application.runs.add()}")
    assert code_of(answer) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text


@pytest.mark.parametrize("given", ["abc-123", "A.b:c_9"])
def test_a_harmless_request_id_is_kept(web: FlaskClient, given: str) -> None:
    assert web.get("/", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", " ", "x" * 65, 'a"b', "a b", "<script>", "ä", "-x"])
def test_another_request_id_is_replaced(web: FlaskClient, given: str) -> None:
    made = web.get("/", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert made != given
    assert re.fullmatch(r"[0-9a-f-]{36}", made)


def test_every_answer_has_the_headers_that_keep_browsers_careful(web: FlaskClient) -> None:
    for path in ("/", "/docs", "/nowhere"):
        headers = web.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
    assert "script-src 'self';" in web.get("/docs").headers["Content-Security-Policy"]


def test_a_nul_is_not_found_in_a_path_and_refused_in_a_query(web: FlaskClient) -> None:
    assert code_of(web.get("/runs/a%00b"))[0] == 404
    assert code_of(web.get("/runs?kind=a%00b"))[0] == 400
    assert code_of(web.get("/runs?a%00b=1"))[0] == 400


def test_the_pages_load_nothing_from_elsewhere(web: FlaskClient) -> None:
    assert not re.findall(r"https?://", web.get("/docs").text + web.get("/docs/start.js").text)


@pytest.mark.parametrize("name", ["index.html", "..%2f__init__.py", "%2e%2e/core.py", "swagger-ui.js"])
def test_only_the_files_of_the_page_are_served(web: FlaskClient, name: str) -> None:
    assert web.get(f"/docs/{name}").status_code == 404


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_page_says_where_it_stands_and_is_cut(web: FlaskClient, application: FakeApplication) -> None:
    for _ in range(5):
        application.runs.add()
    answer = web.get("/runs?page=2&page_size=2")
    assert len(answer.get_json()) == 2
    assert answer.headers["X-Pagination"] == (
        '{"total":5,"total_pages":3,"page":2,"page_size":2,"previous_page":1,"next_page":3}'
    )
    assert '"page_size":200' in web.get("/runs?page_size=100000").headers["X-Pagination"]


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=x",
        "page=1.5",
        "page=99999999999999999999",
        "page_size=0",
        "status=done",
        "since=yesterday",
    ],
)
def test_a_query_out_of_range_is_422(web: FlaskClient, query: str) -> None:
    status, code = code_of(web.get(f"/runs?{query}"))
    assert (status, code) == (422, "invalid")
    assert query.split("=", maxsplit=1)[0] in web.get(f"/runs?{query}").get_json()["errors"]


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_unknown_fields_pass_on_the_users_routes_and_not_on_new_ones(
    web: FlaskClient, application: FakeApplication
) -> None:
    assert web.post("/workflow", json={**DOCUMENT, "n8n": 1}).status_code == 200
    run_id = application.runs.add()
    answer = web.post(f"/runs/{run_id}/budget", json={"max_cost_usd": 1, "max_cost": 2})
    assert code_of(answer) == (422, "invalid")
    assert list(answer.get_json()["errors"]) == ["max_cost"]


def test_curls_form_type_is_read_on_the_users_routes(web: FlaskClient, application: FakeApplication) -> None:
    body = '{"workflow": [{"tasks": [{"agent": "echo"}]}]}'
    assert web.post("/workflow", data=body, content_type="application/x-www-form-urlencoded").status_code == 200
    assert web.post("/workflow", data=body).status_code == 200
    assert code_of(web.post("/workflow", data=body, content_type="text/xml")) == (415, "unsupported_media_type")
    path = f"/runs/{application.runs.add()}/budget"
    assert code_of(web.post(path, data='{"max_cost_usd": 1}'))[0] == 415


def test_a_body_of_two_megabytes_is_413(web: FlaskClient) -> None:
    body = b'{"workflow": "' + b"x" * 2_000_000 + b'"}'
    assert code_of(web.post("/workflow", data=body)) == (413, "too_large")


def test_the_place_of_a_mistake_in_a_document_is_named(web: FlaskClient) -> None:
    answer = web.post("/workflow", json={"workflow": [{}, {"tasks": [{"model": "nope", "prompt": "x"}]}]})
    assert code_of(answer) == (422, "document_invalid")
    assert "workflow[1].tasks[0].model" in answer.get_json()["errors"]


def test_a_model_without_a_provider_is_503_naming_what_to_set(web: FlaskClient, application: FakeApplication) -> None:
    application.missing = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    answer = web.post("/workflow", json=DOCUMENT)
    assert code_of(answer) == (503, "not_configured")
    assert "OPENAI_API_KEY or OPENAI_BASE_URL" in answer.get_json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert application.runs.requests == []


def test_a_dry_run_only_estimates_and_says_what_is_missing(web: FlaskClient, application: FakeApplication) -> None:
    application.missing = ("OPENAI_API_KEY",)
    answer = web.post("/workflow", json={**DOCUMENT, "dry_run": True})
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["dry_run"], body["missing"]) == (True, ["OPENAI_API_KEY"])
    assert [step["key"] for step in body["steps"]] == ["0.0"]
    assert set(body["estimated"]) == {"dollars_p50", "dollars_p90", "seconds_p50", "seconds_p90"}
    assert application.runs.requests == []


def test_options_reach_the_run(web: FlaskClient, application: FakeApplication) -> None:
    options = {"priority": "high", "max_cost_usd": 0.5, "callback_url": "http://n8n.internal:5678/x"}
    assert web.post("/workflow", json={**DOCUMENT, **options}).status_code == 200
    request = application.runs.requests[0]
    assert (request.priority, request.callback_url) == ("high", "http://n8n.internal:5678/x")
    assert str(request.max_cost_usd) == "0.5"


def test_a_callback_elsewhere_is_refused_before_anything_runs(web: FlaskClient, application: FakeApplication) -> None:
    answer = web.post("/workflow", json={**DOCUMENT, "callback_url": "http://evil.example/"})
    assert code_of(answer) == (422, "callback_refused")
    assert application.runs.requests == []


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_works_until_it_is_revoked(web: FlaskClient) -> None:
    made = web.post("/tokens", json={"name": "n8n", "scope": "admin"})
    assert made.status_code == 201
    headers = {"Authorization": f"Bearer {made.get_json()['token']}"}
    [listed] = web.get("/tokens", headers=headers).get_json()
    assert "token" not in listed
    assert (listed["id"], listed["revoked"]) == (made.get_json()["id"], False)
    assert web.delete(f"/tokens/{listed['id']}", headers=headers).status_code == 204
    assert code_of(web.get("/tokens", headers=headers)) == (403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": "x"}, {"name": "x", "scope": "root"}, {"name": "", "scope": "admin"},
        {"name": 1, "scope": "admin"},
        {"name": "x", "scope": "admin", "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "x", "scope": "admin", "expires_at": "soon"}, {"name": "x", "scope": "admin", "extra": 1},
    ],
)  # fmt: skip
def test_a_token_that_makes_no_sense_is_not_made(web: FlaskClient, body: dict[str, object]) -> None:
    assert code_of(web.post("/tokens", json=body))[0] == 422
    assert web.get("/tokens").get_json() == []


@pytest.mark.parametrize(("beyond", "status"), [(0, 422), (1, 413)])
def test_a_body_that_does_not_say_its_length_is_never_cut(web: FlaskClient, beyond: int, status: int) -> None:
    body = b'{"workflow": []}'.ljust(BODY_LENGTH_MAX + beyond)
    chunked = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}
    answer = web.open("/workflow", method="POST", environ_overrides=chunked)
    assert answer.status_code == status, answer.text
