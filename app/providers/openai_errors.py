"""What each error of the openai SDK, and each error inside a 200, means for the engine and the breaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import openai

from app.errors import PersistentError, StepError, TransientError
from app.gateway.model import Blame
from app.providers.failures import (
    LONGEST_MESSAGE,
    Translations,
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

QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"}
MODEL_GONE_CODES = {"model_not_found", "model_deprecated", "model_retired"}
END_OF_ERRORS = 600
NAMES_A_MODEL = re.compile(r"model|endpoint", re.IGNORECASE)
"""A 404 is about the model when it speaks of one; OpenRouter speaks of endpoints. Files can be missing too."""
NO_MODEL_ID = "is not a valid model ID"
RETRY_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")


def to_step_error(error: BaseException, provider: str) -> StepError:
    """Translate anything the SDK raises, as `failures.translate` does."""
    return translate(error, provider, _TRANSLATIONS)


def from_status(provider: str, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> StepError:
    """Translate an HTTP status other than 2xx.

    Args:
        provider: for the message.
        status: 400 and above, or what an error inside a 200 claims.
        body: the wire's error object; empty when there was none.
        headers: of the answer, for what they say about waiting.
    """
    code, kind = str(body.get("code") or ""), str(body.get("type") or "")
    said = f"{provider} answered {status}: {_said(body)}"
    details: dict[str, Any] = {"status": status}
    if status == HTTPStatus.PAYMENT_REQUIRED or QUOTA_CODES & {code, kind}:
        return marked(PersistentError(said, code="quota", **{**details, **_limit(body)}), blame=Blame.PROVIDER)
    if _refuses_the_key(status, code, body):
        return marked(PersistentError(said, code="auth", **details), blame=Blame.PROVIDER)
    if _is_moderation(status, body):
        return marked(PersistentError(said, code="refused", **details), blame=Blame.NONE)
    if code in MODEL_GONE_CODES or _knows_no_model(status, _said(body)):
        return marked(PersistentError(said, code="model_gone", **details), blame=Blame.RETIRED)
    if passes(status):
        blame = Blame.NONE if status == HTTPStatus.CONFLICT else Blame.MODEL
        return marked(_passing(said, status, _wait_s(body, headers), details), blame=blame)
    word = "" if code.isdigit() else slug(code)
    return marked(PersistentError(said, code=word or f"http_{status}", **details), blame=Blame.NONE)


def _said(body: Mapping[str, Any]) -> str:
    """Give the vendor's words; OpenRouter hides those of the host behind it in `metadata.raw`."""
    metadata = body.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    words = str(body.get("message") or body.get("detail") or "no reason given")
    return quoted(f"{words} ({raw})" if isinstance(raw, str) and raw else words)


def _limit(body: Mapping[str, Any]) -> dict[str, str]:
    """Say which of OpenRouter's limits was reached: the account's credits or the key's own."""
    metadata = body.get("metadata")
    source = metadata.get("limit_source") if isinstance(metadata, Mapping) else None
    return {"limit_source": source[:LONGEST_MESSAGE]} if isinstance(source, str) else {}


def _refuses_the_key(status: int, code: str, body: Mapping[str, Any]) -> bool:
    """Tell a refused key. Google says so with 400, or with 403 for a key that may not do this."""
    return (
        status == HTTPStatus.UNAUTHORIZED
        or code == "invalid_api_key"
        or body.get("status") in {"PERMISSION_DENIED", "UNAUTHENTICATED"}
        or "API_KEY_INVALID" in str(body.get("details", ""))
    )


def _is_moderation(status: int, body: Mapping[str, Any]) -> bool:
    metadata = body.get("metadata")
    return (
        status == HTTPStatus.FORBIDDEN
        and isinstance(metadata, Mapping)
        and bool({"reasons", "flagged_input"} & metadata.keys())
    )


def _knows_no_model(status: int, said: str) -> bool:
    """Tell a model that is gone; OpenRouter says so of a name it never heard with 400."""
    if status == HTTPStatus.BAD_REQUEST:
        return NO_MODEL_ID in said
    return status == HTTPStatus.NOT_FOUND and NAMES_A_MODEL.search(said) is not None


def _wait_s(body: Mapping[str, Any], headers: Mapping[str, str]) -> float | None:
    """Say how long the vendor asks to wait: in a header, or, Google, among the error's details."""
    waits = retry_after_s(headers)
    details = body.get("details")
    for detail in details if waits is None and isinstance(details, list) else ():
        delay = RETRY_DELAY.fullmatch(str(detail.get("retryDelay", ""))) if isinstance(detail, Mapping) else None
        if delay is not None:
            return float(delay[1])
    return waits


def from_body(provider: str, body: Mapping[str, Any], *, begun: bool = False) -> StepError:
    """Translate an error object that came with a 200, as some vendors send once generation has begun.

    Args:
        provider: for the message.
        body: the error object.
        begun: part of an answer came with it, so that the vendor may charge.
    """
    code = body.get("code")
    status = int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else 0
    if not HTTPStatus.BAD_REQUEST <= status < END_OF_ERRORS:
        by_code = {"rate_limit_exceeded": 429, "server_error": 500, "invalid_request_error": 400}
        status = by_code.get(str(code), by_code.get(str(body.get("type")), 502))
    error = from_status(provider, status, body, {})
    error.details["sent"] = begun
    return error


def _from_status_error(provider: str, error: openai.APIStatusError) -> StepError:
    return from_status(provider, error.status_code, error_object(error.body), error.response.headers)


def _from_filter(provider: str, _error: BaseException) -> StepError:
    refused = PersistentError(f"{provider}'s content filter stopped the answer.", code="refused")
    return marked(refused, sent=True, blame=Blame.NONE)


def _from_stream(provider: str, error: openai.APIError) -> StepError:
    return from_body(provider, error_object(error.body) or {"message": error.message})


def _from_connection(provider: str, error: BaseException) -> StepError:
    return from_connection(provider, error, timed_out=isinstance(error, openai.APITimeoutError))


def _passing(said: str, status: int, wait_s: float | None, details: dict[str, Any]) -> TransientError:
    code = "rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else "provider_unavailable"
    return TransientError(said, retry_after_s=wait_s, code=code, **details)


_TRANSLATIONS: Translations = (
    (openai.APIStatusError, _from_status_error),
    (openai.APIConnectionError, _from_connection),
    ((openai.APIResponseValidationError, openai.LengthFinishReasonError), from_validation),
    (openai.ContentFilterFinishReasonError, _from_filter),
    (openai.APIError, _from_stream),
    (openai.OpenAIError, from_setup),
)
