"""What each error of the anthropic SDK, and each error inside a 200, means for the engine and the breaker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import anthropic
import httpx2

from app.errors import FatalError, LogicalError, PersistentError, StepError, TransientError
from app.gateway.model import Blame
from app.providers.failures import brief, from_connection, marked, quoted, retry_after_s, slug, unreadable

SPEND_CODES = {
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_billing_unavailable",
    "linked_organization_spend_limit_reached",
    "user_profile_billing_not_authorized",
    "user_profile_not_billable",
}
"""Limits of money, some of them answered with 429; `ramp_limit_exceeded` is not one, it passes within its wait."""
ACCOUNT_CODES = {"organization_on_hold", "cmek_key_disabled", "cmek_key_network_blocked"}
"""The account or its encryption key is shut: nothing will be answered until somebody opens it."""
NO_CREDIT = "credit balance is too low"
"""How an empty account was told before there was a type for it; compatible servers still say so, with 400."""
PASSING_CODES = {"request_body_timeout"}
PASSING_STATUSES = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error that comes without a status of its own would have had."""
UNKNOWN_STATUS = 502
MESSAGES_PATH = "/v1/messages"


def to_step_error(error: BaseException, provider: str) -> StepError:
    """Translate anything the SDK raises.

    Args:
        error: an `AnthropicError`, or something that escaped the SDK's transport.
        provider: for the message.

    Returns:
        An error with `details`: `sent` (the vendor may charge although we saw no answer), `blame`, and `status` if
        there was one. Its message holds the vendor's words, never a header or an address.
    """
    for kinds, translate in _TRANSLATIONS:
        if isinstance(error, kinds):
            return translate(provider, error)
    fault = FatalError(f"Calling {provider} failed: {type(error).__name__}.", code="provider_fault")
    return marked(fault, sent=True, blame=Blame.NONE)


def from_status(
    provider: str, status: int, error: Mapping[str, Any], headers: Mapping[str, str], *, about_model: bool = True
) -> StepError:
    """Translate an HTTP status other than 2xx.

    Args:
        provider: for the message.
        status: 400 and above.
        error: the wire's error object, `{"type", "message", "details"}`; empty when there was none.
        headers: of the answer, for what they say about waiting.
        about_model: what a 404 misses is the model; else it is a batch.
    """
    kind, code, words = str(error.get("type") or ""), _code(error), str(error.get("message") or "no reason given")
    said = f"{provider} answered {status}: {quoted(words)}"
    details: dict[str, Any] = {"status": status}
    if status == HTTPStatus.PAYMENT_REQUIRED or kind == "billing_error" or code in SPEND_CODES or NO_CREDIT in words:
        return marked(PersistentError(said, code="quota", **details), blame=Blame.PROVIDER)
    if status == HTTPStatus.UNAUTHORIZED or kind == "authentication_error" or code in ACCOUNT_CODES:
        return marked(PersistentError(said, code="auth", **details), blame=Blame.PROVIDER)
    if status == HTTPStatus.NOT_FOUND and kind == "not_found_error":
        return _missing(said, details, about_model=about_model)
    if _passes(status, code):
        blame = Blame.NONE if status == HTTPStatus.CONFLICT or code in PASSING_CODES else Blame.MODEL
        name = "rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else "provider_unavailable"
        return marked(TransientError(said, retry_after_s=retry_after_s(headers), code=name, **details), blame=blame)
    return marked(PersistentError(said, code=slug(code or kind) or f"http_{status}", **details), blame=Blame.NONE)


def _passes(status: int, code: str) -> bool:
    if code in PASSING_CODES or status in PASSING_STATUSES:
        return True
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED


def _missing(said: str, details: dict[str, Any], *, about_model: bool) -> StepError:
    if about_model:
        return marked(PersistentError(said, code="model_gone", **details), blame=Blame.RETIRED)
    return marked(PersistentError(said, code="not_found", **details), blame=Blame.NONE)


def from_body(provider: str, body: object, *, sent: bool = False) -> StepError:
    """Translate an error that has no status of its own: in a stream, in a batch's results, in a 200.

    Args:
        provider: for the message.
        body: `{"type": "error", "error": {…}}`, or what is within.
        sent: an answer had begun, so that the vendor may charge.
    """
    error = error_object(body)
    translated = from_status(provider, STATUS_OF.get(str(error.get("type")), UNKNOWN_STATUS), error, {})
    translated.details["sent"] = sent
    return translated


def error_object(body: object) -> Mapping[str, Any]:
    """Find the error object within an answer's body; empty when there is none, as in a proxy's page."""
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    if isinstance(body, Mapping):
        return body
    return {"message": body} if isinstance(body, str) and body and not body.lstrip().startswith("<") else {}


def _code(error: Mapping[str, Any]) -> str:
    details = error.get("details")
    return str(details.get("error_code") or "") if isinstance(details, Mapping) else ""


def _from_status_error(provider: str, error: anthropic.APIStatusError) -> StepError:
    if error.response.is_success:  # an error among the events of a stream
        return from_body(provider, error.body, sent=True)
    about_model = error.request.url.path.endswith(MESSAGES_PATH)
    headers = error.response.headers
    return from_status(provider, error.status_code, error_object(error.body), headers, about_model=about_model)


def _from_timeout(provider: str, error: BaseException) -> StepError:
    return from_connection(provider, error, timed_out=True)


def _from_broken_json(provider: str, _error: BaseException) -> StepError:
    return unreadable(provider, "no JSON")


def _from_unreadable(provider: str, _error: BaseException) -> StepError:
    unusable = LogicalError(f"{provider}'s answer cannot be read.", code="unreadable_answer")
    return marked(unusable, sent=True, blame=Blame.NONE)


def _from_anything(provider: str, error: BaseException) -> StepError:
    return marked(TransientError(f"{provider} failed: {brief(error)}", code="provider_unavailable"), sent=True)


def _from_setup(provider: str, error: BaseException) -> StepError:
    """Translate what the SDK raises before it sends anything: no credentials, no token to be had."""
    unusable = PersistentError(f"{provider} cannot be called: {brief(error)}", code="auth")
    return marked(unusable, sent=False, blame=Blame.PROVIDER)


_TRANSLATIONS: tuple[tuple[Any, Callable[[str, Any], StepError]], ...] = (
    # The first that fits serves, so a class stands before its parents; a timeout is a connection error.
    (anthropic.APIStatusError, _from_status_error),
    (anthropic.APITimeoutError, _from_timeout),
    (anthropic.APIConnectionError, from_connection),
    (anthropic.APIResponseValidationError, _from_unreadable),
    ((anthropic.APIError, anthropic.RetryableError), _from_anything),
    (anthropic.AnthropicError, _from_setup),
    ((aiohttp.ClientError, httpx2.HTTPError, OSError, TimeoutError), from_connection),
    ((json.JSONDecodeError, UnicodeDecodeError), _from_broken_json),
)
