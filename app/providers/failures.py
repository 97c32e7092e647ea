"""What goes wrong between us and any vendor, whichever SDK it is asked through."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
import httpx2

from app.errors import FatalError, LogicalError, PersistentError, ResourceError, StepError, TransientError
from app.gateway.model import Blame

Translations = Sequence[tuple[Any, Callable[[str, Any], StepError]]]
"""Classes of an SDK's errors, and what makes ours of them. The first that fits serves: a class before its parents."""
Failure = TypeVar("Failure", bound=StepError)
LONGEST_MESSAGE = 500
_HIDDEN = (
    (re.compile(r"\bBearer\s+\S+", re.IGNORECASE), "Bearer [hidden]"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|key)-[\w-]*\d[\w-]*|\bAIza[\w-]{16,}"), "[key]"),
    # A host without a dot, one of a private zone, or a bare number of a machine.
    (
        re.compile(
            r"\b[a-z][a-z0-9+.-]{1,10}://(?:[^\s/@]*@)?(?:[\w-]+|[\w.-]+\.(?:internal|local|lan|svc|home|corp)|"
            r"\d+(?:\.\d+){3}|\[[0-9a-f:]+\])(?::\d+)?(?=[/?#\s,;'\")]|\.?\s|\.?$)[^\s'\"]*",
            re.IGNORECASE,
        ),
        "[address]",
    ),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "[address]"),
)
_PASSING_STATUSES = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


def marked(error: Failure, *, blame: Blame = Blame.MODEL, sent: bool = False) -> Failure:
    """Say with an error whose fault it is, and whether the vendor may have done the work."""
    error.details.update({"sent": sent, "blame": blame.value})
    return error


def unreadable(provider: str, reason: str) -> StepError:
    """Make the error of a 200 that is not the wire's JSON, such as a proxy's page."""
    words = f"{provider} answered something that is not its wire: {reason}"
    return marked(TransientError(words, code="unreadable_answer"), sent=True)


def cut_short(provider: str, *, begun: bool) -> StepError:
    """Make the error of a stream that ended before its answer did."""
    words = "in the middle of its answer" if begun else "without an answer"
    return marked(TransientError(f"{provider} ended its stream {words}.", code="cut_short"), sent=True)


def unsendable(provider: str, kind: type[Failure], reason: str, *, code: str = "unsendable") -> Failure:
    """Make the error of a request that we do not even send."""
    return marked(kind(f"{provider} was not asked: {reason}.", code=code), sent=False, blame=Blame.UNSENT)


def from_connection(provider: str, error: BaseException, *, timed_out: bool = False) -> StepError:
    """Tell a server that could not be reached from one that went silent, or away, with our request in its hands.

    Args:
        provider: for the message.
        error: what the transport raised; what aiohttp said underneath decides, for the transports of the SDKs
            do not agree on what to call a dropped connection.
        timed_out: the SDK says that it was a timeout.
    """
    causes = list(_causes(error))
    beneath = [cause for cause in causes if isinstance(cause, aiohttp.ClientError)]
    if any(isinstance(cause, _NEVER_SENT) for cause in causes) or (
        not beneath and any(isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout) for cause in causes)
    ):
        return marked(TransientError(f"{provider} cannot be reached.", code="network"))
    dropped = any(not isinstance(cause, TimeoutError) for cause in beneath)
    if not dropped and (
        timed_out or any(isinstance(cause, httpx2.TimeoutException | TimeoutError) for cause in causes)
    ):
        return marked(ResourceError(f"{provider} did not answer in time.", code="timeout"), sent=True)
    return marked(TransientError(f"{provider} closed the connection before it answered.", code="network"), sent=True)


def translate(error: BaseException, provider: str, table: Translations) -> StepError:
    """Translate anything that an SDK raises, or that escaped its transport.

    Args:
        error: what was raised.
        provider: for the message.
        table: the SDK's own classes.

    Returns:
        An error with `details`: `sent` (the vendor may charge although we saw no answer), `blame`, and `status` if
        there was one. Its message holds the vendor's words, never a header or an address.
    """
    for kinds, make in (*table, *_OF_TRANSPORTS):
        if isinstance(error, kinds):
            return make(provider, error)
    fault = FatalError(f"Calling {provider} failed: {type(error).__name__}.", code="provider_fault")
    return marked(fault, sent=True, blame=Blame.NONE)


def from_setup(provider: str, error: BaseException) -> StepError:
    """Translate what an SDK raises before it sends anything: no credentials, no token to be had."""
    unusable = PersistentError(f"{provider} cannot be called: {brief(error)}", code="auth")
    return marked(unusable, sent=False, blame=Blame.PROVIDER)


def from_validation(provider: str, _error: BaseException) -> StepError:
    """Translate an answer that an SDK could not read."""
    unusable = LogicalError(f"{provider}'s answer cannot be read.", code="unreadable_answer")
    return marked(unusable, sent=True, blame=Blame.NONE)


def _from_broken_json(provider: str, _error: BaseException) -> StepError:
    return unreadable(provider, "no JSON")


_OF_TRANSPORTS: Translations = (
    ((aiohttp.ClientError, httpx2.HTTPError, OSError, TimeoutError), from_connection),
    ((json.JSONDecodeError, UnicodeDecodeError), _from_broken_json),
)


def passes(status: int) -> bool:
    """Say whether what an HTTP status tells is likely to pass."""
    return status in _PASSING_STATUSES or (
        status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED
    )


def error_object(body: object) -> Mapping[str, Any]:
    """Find the error object of a body: bare, within `error`, or, on Google's compatible endpoint, within a list.

    Returns:
        Empty when there is none, as in a proxy's page.
    """
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    if isinstance(body, Mapping):
        return body
    return {"message": body} if isinstance(body, str) and body and not body.lstrip().startswith("<") else {}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read how long a vendor asks to wait: `retry-after-ms`, else `retry-after` in seconds or as a date.

    Returns:
        Seconds, 0 or more; None when nothing readable was said.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    raw = headers.get("retry-after")
    seconds = _number(raw)
    if seconds is not None or raw is None:
        return seconds
    try:
        at = email.utils.parsedate_to_datetime(raw)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # such dates are Greenwich's, whether they say so or not
        at = at.replace(tzinfo=dt.UTC)
    return max(0.0, at.timestamp() - time.time())


def _number(raw: str | None) -> float | None:
    try:
        value = float(raw) if raw is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None


def slug(code: str) -> str:
    """Make a stable code of a vendor's word; empty stays empty."""
    return "".join(character if character.isalnum() else "_" for character in code.lower())[:64].strip("_")


def brief(error: BaseException) -> str:
    """Give an error's first line."""
    return quoted(str(error).splitlines()[0]) if str(error) else type(error).__name__


def quoted(words: str) -> str:
    """Give a vendor's words as callers may read them: not too long, no key in them, and no address but public ones."""
    text = " ".join(words[: 4 * LONGEST_MESSAGE].split())
    for pattern, instead in _HIDDEN:
        text = pattern.sub(instead, text)
    return text[:LONGEST_MESSAGE]
