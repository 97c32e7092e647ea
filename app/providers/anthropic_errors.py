"""What each error of the anthropic SDK, and each error inside a 200, means for the engine and the breaker."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import anthropic

from app.errors import PersistentError, StepError, TransientError
from app.gateway.model import Blame
from app.providers.failures import (
    Translations,
    brief,
    error_object,
    from_connection,
    from_setup,
    from_validation,
    marked,
    passes,
    quoted,
    retry_after_s,
    slug,
    translate,
)

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
    """Translate anything the SDK raises, as `failures.translate` does."""
    return translate(error, provider, _TRANSLATIONS)


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
    if code in PASSING_CODES or passes(status):
        blame = Blame.NONE if status == HTTPStatus.CONFLICT or code in PASSING_CODES else Blame.MODEL
        name = "rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else "provider_unavailable"
        return marked(TransientError(said, retry_after_s=retry_after_s(headers), code=name, **details), blame=blame)
    return marked(PersistentError(said, code=slug(code or kind) or f"http_{status}", **details), blame=Blame.NONE)


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


def _from_anything(provider: str, error: BaseException) -> StepError:
    return marked(TransientError(f"{provider} failed: {brief(error)}", code="provider_unavailable"), sent=True)


_TRANSLATIONS: Translations = (
    # A timeout is a connection error.
    (anthropic.APIStatusError, _from_status_error),
    (anthropic.APITimeoutError, _from_timeout),
    (anthropic.APIConnectionError, from_connection),
    (anthropic.APIResponseValidationError, from_validation),
    ((anthropic.APIError, anthropic.RetryableError), _from_anything),
    (anthropic.AnthropicError, from_setup),
)
