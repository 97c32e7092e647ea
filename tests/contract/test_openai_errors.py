"""Every error the openai SDK can raise becomes one of our classes; the library is enumerated, so none is missed."""

from __future__ import annotations

import inspect
import time
from typing import Any

import aiohttp
import httpx2
import openai
import openai._exceptions
import pytest
from openai.types.chat import ChatCompletion

from app.errors import FatalError, LogicalError, PersistentError, ResourceError, StepError, TransientError
from app.gateway.model import Blame
from app.providers.failures import quoted, retry_after_s
from app.providers.openai_errors import from_body, from_status, to_step_error

REQUEST = httpx2.Request("POST", "http://vendor/v1/chat/completions")
COMPLETION = ChatCompletion.model_construct(id="c", choices=[], usage=None)


def status_error(
    kind: type[openai.APIStatusError], status: int, body: object = None, **headers: str
) -> openai.APIStatusError:
    response = httpx2.Response(status, request=REQUEST, headers=headers)
    if kind is openai.OAuthError:
        return openai.OAuthError(response=response, body=body)
    return kind("said the vendor", response=response, body=body)


EXPECTED: dict[str, tuple[Any, type[StepError]]] = {
    "OpenAIError": (openai.OpenAIError("no credentials"), PersistentError),
    "APIError": (openai.APIError("mid-stream", REQUEST, body={"code": "server_error"}), TransientError),
    "APIResponseValidationError": (
        openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), body=None),
        LogicalError,
    ),
    "APIStatusError": (status_error(openai.APIStatusError, 418), PersistentError),
    "APIConnectionError": (openai.APIConnectionError(request=REQUEST), TransientError),
    "APITimeoutError": (openai.APITimeoutError(REQUEST), ResourceError),
    "BadRequestError": (status_error(openai.BadRequestError, 400), PersistentError),
    "AuthenticationError": (status_error(openai.AuthenticationError, 401), PersistentError),
    "OAuthError": (status_error(openai.OAuthError, 401), PersistentError),
    "PermissionDeniedError": (status_error(openai.PermissionDeniedError, 403), PersistentError),
    "NotFoundError": (status_error(openai.NotFoundError, 404), PersistentError),
    "ConflictError": (status_error(openai.ConflictError, 409), TransientError),
    "UnprocessableEntityError": (status_error(openai.UnprocessableEntityError, 422), PersistentError),
    "RateLimitError": (status_error(openai.RateLimitError, 429), TransientError),
    "InternalServerError": (status_error(openai.InternalServerError, 500), TransientError),
    "LengthFinishReasonError": (openai.LengthFinishReasonError(completion=COMPLETION), LogicalError),
    "ContentFilterFinishReasonError": (openai.ContentFilterFinishReasonError(completion=COMPLETION), PersistentError),
    "SubjectTokenProviderError": (openai._exceptions.SubjectTokenProviderError("no token"), PersistentError),
    "InvalidWebhookSignatureError": (openai.InvalidWebhookSignatureError("bad"), FatalError),
    "WebSocketConnectionClosedError": (
        openai.WebSocketConnectionClosedError("closed", unsent_messages=[]),
        PersistentError,
    ),
    "WebSocketQueueFullError": (openai.WebSocketQueueFullError("full"), PersistentError),
    "_AmbiguousModuleClientUsageError": (openai._AmbiguousModuleClientUsageError(), PersistentError),
}


def library_errors() -> set[str]:
    modules = (openai, openai._exceptions)
    found = {name: value for module in modules for name, value in list(vars(module).items()) if inspect.isclass(value)}
    return {
        name for name, value in found.items() if issubclass(value, Exception) and value.__module__.startswith("openai")
    }


def test_every_error_of_the_library_is_in_the_table() -> None:
    assert library_errors() == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_error_becomes_its_class_and_says_whom_to_blame(name: str) -> None:
    error, kind = EXPECTED[name]

    ours = to_step_error(error, "openai")

    assert type(ours) is kind
    assert Blame(ours.details["blame"])
    assert isinstance(ours.details["sent"], bool)


@pytest.mark.parametrize("status", range(400, 600))
def test_no_status_is_without_a_class(status: int) -> None:
    assert isinstance(from_status("openai", status, {}, {}), StepError)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "blame"),
    [
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, PersistentError, "quota", Blame.PROVIDER),
        (429, {"code": "rate_limit_exceeded", "type": "requests"}, TransientError, "rate_limited", Blame.MODEL),
        (402, {"code": 402}, PersistentError, "quota", Blame.PROVIDER),
        (401, {"code": "invalid_api_key"}, PersistentError, "auth", Blame.PROVIDER),
        (
            400,
            {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]},
            PersistentError,
            "auth",
            Blame.PROVIDER,
        ),
        (400, {"code": "context_length_exceeded"}, PersistentError, "context_length_exceeded", Blame.NONE),
        (403, {"code": 403, "metadata": {"reasons": ["violence"]}}, PersistentError, "refused", Blame.NONE),
        (404, {"code": "model_not_found"}, PersistentError, "model_gone", Blame.RETIRED),
        (404, {}, PersistentError, "http_404", Blame.NONE),
        (408, {}, TransientError, "provider_unavailable", Blame.MODEL),
        (503, {"code": 503}, TransientError, "provider_unavailable", Blame.MODEL),
        (529, {}, TransientError, "provider_unavailable", Blame.MODEL),
        (501, {}, PersistentError, "http_501", Blame.NONE),
    ],
)
def test_what_a_status_means(status: int, body: dict[str, Any], kind: type[StepError], code: str, blame: Blame) -> None:
    error = from_status("openai", status, body, {})

    assert (type(error), error.code, error.details["blame"]) == (kind, code, blame)
    assert error.details["sent"] is False


def test_google_s_list_around_an_error_is_read() -> None:
    body = [{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}]

    error = to_step_error(status_error(openai.RateLimitError, 429, body), "google_ai")

    assert "slow down" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Fri, 20 Nov 2020 12:00:00 GMT"}, 0.0),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 20 Nov 2020 19:00:00"}, 0),
    ],
)
def test_how_long_a_vendor_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000", ""])
def test_a_date_to_wait_for_is_greenwich_s_wherever_we_are(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        in_a_minute = time.strftime("%a, %d %b %Y %H:%M:%S", time.gmtime(time.time() + 60))
        seconds = retry_after_s({"retry-after": f"{in_a_minute} {zone}".strip()})
    finally:
        monkeypatch.undo()
        time.tzset()

    assert seconds == pytest.approx(60, abs=2)


def test_a_wait_that_was_asked_for_reaches_the_engine() -> None:
    error = to_step_error(status_error(openai.RateLimitError, 429, None, **{"retry-after-ms": "1500"}), "openai")

    assert error.retry_after_s == 1.5


@pytest.mark.parametrize(
    ("cause", "kind", "sent"),
    [
        (httpx2.ConnectError("refused"), TransientError, False),
        (httpx2.ReadTimeout("slow"), ResourceError, True),
        (aiohttp.ConnectionTimeoutError("slow to connect"), TransientError, False),
        (aiohttp.SocketTimeoutError("slow to answer"), ResourceError, True),
        (aiohttp.ServerDisconnectedError(), TransientError, True),
        (ConnectionResetError("reset"), TransientError, True),
    ],
)
def test_a_server_out_of_reach_is_told_from_one_that_has_our_request(
    cause: Exception, kind: type[StepError], *, sent: bool
) -> None:
    # The transport wraps aiohttp's errors as timeouts of connecting, and the SDK wraps those.
    wrapped = httpx2.ConnectTimeout("wrapped") if isinstance(cause, aiohttp.ClientError) else cause
    if wrapped is not cause:
        wrapped.__cause__ = cause
    error = (
        openai.APITimeoutError(REQUEST)
        if isinstance(wrapped, httpx2.TimeoutException)
        else openai.APIConnectionError(request=REQUEST)
    )
    error.__cause__ = wrapped

    ours = to_step_error(error, "openai")

    assert (type(ours), ours.details["sent"]) == (kind, sent)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"code": 402, "message": "no credit"}, PersistentError, "quota"),
        ({"code": "429", "message": "slow"}, TransientError, "rate_limited"),
        ({"code": 502, "message": "host failed"}, TransientError, "provider_unavailable"),
        ({"code": "server_error", "message": "oops"}, TransientError, "provider_unavailable"),
        ({"message": "nobody knows"}, TransientError, "provider_unavailable"),
        ({"code": 403, "message": "flagged"}, PersistentError, "http_403"),
    ],
)
def test_an_error_inside_a_200_means_what_its_code_says(body: dict[str, Any], kind: type[StepError], code: str) -> None:
    error = from_body("openrouter", body)

    assert (type(error), error.code) == (kind, code)


def test_a_page_of_a_proxy_is_not_shown_to_people() -> None:
    error = to_step_error(status_error(openai.InternalServerError, 502, "<html>10.0.0.7 is down</html>"), "openai")

    assert "10.0.0.7" not in str(error)


def test_something_that_is_no_vendor_s_fault_is_fatal() -> None:
    error = to_step_error(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate"), "openai")

    assert type(error) is FatalError
    assert error.details["blame"] == Blame.NONE


@pytest.mark.parametrize(
    ("said", "hidden"),
    [
        ("Incorrect API key provided: sk-proj-Ab12_Cd34-Ef56Gh78.", "sk-proj-Ab12_Cd34-Ef56Gh78"),
        ("bad header Authorization: Bearer abcDEF123456.xyz", "abcDEF123456.xyz"),
        ("key AIzaSyA-1234567890abcdefghij is blocked", "AIzaSyA-1234567890abcdefghij"),
        ("upstream http://10.0.0.5:9377/v1?key=x went away", "10.0.0.5"),
        ("dial tcp 192.168.1.20:8000: refused", "192.168.1.20"),
        ("cannot reach http://vllm-7.cluster.internal:8000/v1", "vllm-7"),
        ("cannot reach https://gpu-box/v1", "gpu-box"),
    ],
)
def test_what_a_vendor_says_is_told_without_keys_and_addresses_of_ours(said: str, hidden: str) -> None:
    error = from_status("openai", 400, {"message": said, "code": "bad"}, {})
    assert hidden not in str(error)


@pytest.mark.parametrize(
    "said",
    [
        "You exceeded your quota, see https://platform.openai.com/account/limits.",
        "max_tokens must be below 4096; version 1.2.3 of the sk-learn task-force model",
        "The model gpt-6-luna-2026-08-01 does not exist",
    ],
)
def test_what_a_vendor_says_otherwise_is_told_as_it_is(said: str) -> None:
    assert str(from_status("openai", 400, {"message": said, "code": "bad"}, {})).endswith(said)


def test_a_vendors_words_come_as_one_line() -> None:
    assert quoted("no\r\n2026-11-20 INFO app: all is well") == "no 2026-11-20 INFO app: all is well"
