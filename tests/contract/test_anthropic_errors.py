"""Every error the anthropic SDK can raise becomes one of our classes; the library is enumerated, so none is missed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import anthropic
import anthropic._exceptions
import httpx2
import pytest
from anthropic._error_classes import ERROR_CLASSES

from app.errors import FatalError, LogicalError, PersistentError, ResourceError, StepError, TransientError
from app.gateway.model import Blame
from app.providers.anthropic_errors import from_body, from_status, to_step_error

MESSAGES = httpx2.Request("POST", "http://vendor/v1/messages")
BATCH = httpx2.Request("GET", "http://vendor/v1/messages/batches/msgbatch_1")


def status_error(
    kind: type[anthropic.APIStatusError], status: int, body: object = None, **headers: str
) -> anthropic.APIStatusError:
    return kind("said", response=httpx2.Response(status, request=MESSAGES, headers=headers), body=body)


def wire_body(kind: str, code: str = "", message: str = "no") -> dict[str, Any]:
    details = {"details": {"error_code": code}} if code else {}
    return {"type": "error", "error": {"type": kind, "message": message, **details}}


BY_STATUS: dict[str, tuple[int, type[StepError]]] = {
    "APIStatusError": (418, PersistentError),
    "BadRequestError": (400, PersistentError),
    "AuthenticationError": (401, PersistentError),
    "PaymentRequiredError": (402, PersistentError),
    "PermissionDeniedError": (403, PersistentError),
    "NotFoundError": (404, PersistentError),
    "RequestTimeoutError": (408, TransientError),
    "ConflictError": (409, TransientError),
    "PreconditionFailedError": (412, PersistentError),
    "ContentTooLargeError": (413, PersistentError),
    "UnprocessableEntityError": (422, PersistentError),
    "RateLimitError": (429, TransientError),
    "RequestHeaderFieldsTooLargeError": (431, PersistentError),
    "ClientClosedRequestError": (499, PersistentError),
    "InternalServerError": (500, TransientError),
    "HTTPNotImplementedError": (501, PersistentError),
    "ServiceUnavailableError": (503, TransientError),
    "GatewayTimeoutError": (504, TransientError),
    "OverloadedError": (529, TransientError),
}
OTHERS: dict[str, tuple[Exception, type[StepError]]] = {
    "AnthropicError": (anthropic.AnthropicError("no credentials"), PersistentError),
    "APIError": (anthropic.APIError("odd", MESSAGES, body=None), TransientError),
    "APIResponseValidationError": (
        anthropic.APIResponseValidationError(httpx2.Response(200, request=MESSAGES), body=None),
        LogicalError,
    ),
    "APIWebhookValidationError": (
        anthropic.APIWebhookValidationError("bad", MESSAGES, body=None),
        TransientError,
    ),
    "APIConnectionError": (anthropic.APIConnectionError(request=MESSAGES), TransientError),
    "APITimeoutError": (anthropic.APITimeoutError(MESSAGES), ResourceError),
    "RetryableError": (anthropic.RetryableError("again"), TransientError),
    "CredentialsError": (anthropic._exceptions.CredentialsError("none"), PersistentError),
    "IdentityTokenFileError": (anthropic._exceptions.IdentityTokenFileError("none"), PersistentError),
    "WorkloadIdentityError": (anthropic.WorkloadIdentityError("none"), PersistentError),
}
CODED: dict[str, tuple[type[StepError], str]] = {
    "contract_spend_limit_reached": (PersistentError, "quota"),
    "enforced_spend_limit_reached": (PersistentError, "quota"),
    "ramp_limit_exceeded": (TransientError, "rate_limited"),
    "linked_organization_billing_unavailable": (PersistentError, "quota"),
    "linked_organization_spend_limit_reached": (PersistentError, "quota"),
    "user_profile_billing_not_authorized": (PersistentError, "quota"),
    "user_profile_not_billable": (PersistentError, "quota"),
    "organization_on_hold": (PersistentError, "auth"),
    "cmek_key_disabled": (PersistentError, "auth"),
    "cmek_key_network_blocked": (PersistentError, "auth"),
    "cmek_key_unreachable": (TransientError, "provider_unavailable"),
    "cmek_context_unavailable": (TransientError, "provider_unavailable"),
    "request_body_timeout": (TransientError, "provider_unavailable"),
    "compaction_unavailable": (TransientError, "provider_unavailable"),
}
"""What the vendor's own codes mean, where they could meet us; any other code of the library's goes by its status."""


def library_errors() -> set[str]:
    modules = (anthropic, anthropic._exceptions)
    found = {value for module in modules for value in list(vars(module).values()) if inspect.isclass(value)}
    ours = {value for value in found if issubclass(value, Exception) and value.__module__.startswith("anthropic")}
    return {value.__name__ for value in ours - coded_classes()}


def coded_classes() -> set[type[Exception]]:
    return {kind for (_, code), kind in ERROR_CLASSES.items() if code is not None}


def coded() -> Iterator[tuple[int, str]]:
    return ((status, code) for status, code in ERROR_CLASSES if code is not None)


def test_every_error_of_the_library_is_in_a_table() -> None:
    assert library_errors() == set(BY_STATUS) | set(OTHERS)


@pytest.mark.parametrize("name", sorted(BY_STATUS))
def test_each_status_s_error_becomes_its_class(name: str) -> None:
    status, kind = BY_STATUS[name]

    ours = to_step_error(status_error(getattr(anthropic, name), status), "anthropic")

    assert (type(ours), ours.details["sent"], ours.details["status"]) == (kind, False, status)
    assert Blame(ours.details["blame"])


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_each_other_error_becomes_its_class_and_says_whom_to_blame(name: str) -> None:
    error, kind = OTHERS[name]

    ours = to_step_error(error, "anthropic")

    assert type(ours) is kind
    assert Blame(ours.details["blame"])
    assert isinstance(ours.details["sent"], bool)


@pytest.mark.parametrize(("status", "code"), sorted(coded()))
def test_each_error_with_a_code_of_its_own_becomes_a_class(status: int, code: str) -> None:
    kinds = {400: "invalid_request_error", 402: "billing_error", 429: "rate_limit_error", 529: "overloaded_error"}
    body = wire_body(kinds.get(status, "api_error"), code)
    error = status_error(ERROR_CLASSES[status, code], status, body)

    ours = to_step_error(error, "anthropic")

    by_status = next(kind for known, kind in BY_STATUS.values() if known == status)
    kind, name = CODED.get(code, (by_status, ours.code))
    assert (type(ours), ours.code) == (kind, name)
    assert ours.details["blame"] == (Blame.PROVIDER if name in {"quota", "auth"} else ours.details["blame"])


def test_every_code_we_know_is_one_of_the_library_s() -> None:
    assert set(CODED) <= {code for _, code in coded()}


@pytest.mark.parametrize("status", range(400, 600))
def test_no_status_is_without_a_class(status: int) -> None:
    assert isinstance(from_status("anthropic", status, {}, {}), StepError)


@pytest.mark.parametrize(
    ("status", "kind", "ours", "code", "blame"),
    [
        (401, "authentication_error", PersistentError, "auth", Blame.PROVIDER),
        (402, "billing_error", PersistentError, "quota", Blame.PROVIDER),
        (403, "permission_error", PersistentError, "permission_error", Blame.NONE),
        (404, "not_found_error", PersistentError, "model_gone", Blame.RETIRED),
        (400, "invalid_request_error", PersistentError, "invalid_request_error", Blame.NONE),
        (413, "request_too_large", PersistentError, "request_too_large", Blame.NONE),
        (409, "conflict_error", TransientError, "provider_unavailable", Blame.NONE),
        (429, "rate_limit_error", TransientError, "rate_limited", Blame.MODEL),
        (500, "api_error", TransientError, "provider_unavailable", Blame.MODEL),
        (503, "", TransientError, "provider_unavailable", Blame.MODEL),
        (504, "timeout_error", TransientError, "provider_unavailable", Blame.MODEL),
        (529, "overloaded_error", TransientError, "provider_unavailable", Blame.MODEL),
        (501, "", PersistentError, "http_501", Blame.NONE),
        (404, "", PersistentError, "http_404", Blame.NONE),
    ],
)
def test_what_a_status_means(status: int, kind: str, ours: type[StepError], code: str, blame: Blame) -> None:
    error = from_status("anthropic", status, {"type": kind, "message": "no"} if kind else {}, {})

    assert (type(error), error.code, error.details["blame"]) == (ours, code, blame)
    assert error.details["sent"] is False


def test_an_empty_account_is_known_by_its_old_words_too() -> None:
    words = "Your credit balance is too low to access the Anthropic API."

    error = from_status("anthropic", 400, {"type": "invalid_request_error", "message": words}, {})

    assert (error.code, error.details["blame"]) == ("quota", Blame.PROVIDER)


def test_a_missing_batch_is_not_a_missing_model() -> None:
    response = httpx2.Response(404, request=BATCH)
    error = anthropic.NotFoundError("said", response=response, body=wire_body("not_found_error"))

    ours = to_step_error(error, "anthropic")

    assert (ours.code, ours.details["blame"]) == ("not_found", Blame.NONE)


@pytest.mark.parametrize(
    ("kind", "ours", "code"),
    [
        ("overloaded_error", TransientError, "provider_unavailable"),
        ("rate_limit_error", TransientError, "rate_limited"),
        ("api_error", TransientError, "provider_unavailable"),
        ("timeout_error", TransientError, "provider_unavailable"),
        ("billing_error", PersistentError, "quota"),
        ("authentication_error", PersistentError, "auth"),
        ("invalid_request_error", PersistentError, "invalid_request_error"),
        ("not_found_error", PersistentError, "model_gone"),
        ("nobody knows", TransientError, "provider_unavailable"),
    ],
)
def test_an_error_in_a_stream_means_what_its_type_says(kind: str, ours: type[StepError], code: str) -> None:
    # The SDK raises its plainest class for it, with the status of the stream: 200.
    error = to_step_error(status_error(anthropic.APIStatusError, 200, wire_body(kind)), "anthropic")

    assert (type(error), error.code, error.details["sent"]) == (ours, code, True)


def test_an_error_without_a_status_was_not_charged_unless_an_answer_had_begun() -> None:
    assert from_body("anthropic", wire_body("api_error")).details["sent"] is False
    assert from_body("anthropic", wire_body("api_error")["error"], sent=True).details["sent"] is True


def test_a_wait_that_was_asked_for_reaches_the_engine() -> None:
    error = status_error(anthropic.RateLimitError, 429, wire_body("rate_limit_error"), **{"retry-after-ms": "1500"})

    assert to_step_error(error, "anthropic").retry_after_s == 1.5


@pytest.mark.parametrize(
    ("cause", "kind", "sent"),
    [
        (httpx2.ConnectError("refused"), TransientError, False),
        (httpx2.PoolTimeout("full"), TransientError, False),
        (httpx2.ReadTimeout("slow"), ResourceError, True),
        (aiohttp.ConnectionTimeoutError("slow to connect"), TransientError, False),
        (aiohttp.SocketTimeoutError("slow to answer"), ResourceError, True),
        (aiohttp.ServerDisconnectedError(), TransientError, True),
        (aiohttp.ClientPayloadError(), TransientError, True),
        (aiohttp.ClientOSError(104, "reset"), TransientError, True),
        (ConnectionResetError("reset"), TransientError, True),
        (TimeoutError(), ResourceError, True),
    ],
)
def test_a_server_out_of_reach_is_told_from_one_that_has_our_request(
    cause: Exception, kind: type[StepError], *, sent: bool
) -> None:
    # The SDK's transport calls a dropped connection an error of connecting; what aiohttp said decides.
    wrapped = httpx2.ConnectError("wrapped") if isinstance(cause, aiohttp.ClientError) else cause
    if wrapped is not cause:
        wrapped.__cause__ = cause
    error = anthropic.APIConnectionError(request=MESSAGES)
    error.__cause__ = wrapped

    ours = to_step_error(error, "anthropic")

    assert (type(ours), ours.details["sent"], ours.details["blame"]) == (kind, sent, Blame.MODEL)


def test_a_server_that_was_never_reached_was_sent_nothing() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("vendor", 443, True, True, None, None, None, None)
    error = anthropic.APIConnectionError(request=MESSAGES)
    error.__cause__ = aiohttp.ClientConnectorError(key, OSError(111, "refused"))

    assert to_step_error(error, "anthropic").details["sent"] is False


def test_events_that_are_no_json_come_from_something_else_than_the_vendor() -> None:
    error = to_step_error(json.JSONDecodeError("no", "", 0), "anthropic")

    assert (type(error), error.code, error.details["sent"]) == (TransientError, "unreadable_answer", True)


def test_a_page_of_a_proxy_is_not_shown_to_people() -> None:
    error = to_step_error(
        status_error(anthropic.InternalServerError, 502, "<html>10.0.0.7 is down</html>"), "anthropic"
    )

    assert "10.0.0.7" not in str(error)


def test_something_that_is_no_vendor_s_fault_is_fatal() -> None:
    error = to_step_error(KeyError("ours"), "anthropic")

    assert type(error) is FatalError
    assert error.details["blame"] == Blame.NONE
