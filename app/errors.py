"""Every error Batuta raises on purpose, grouped by what the caller can do.

    BatutaError
    |-- RequestError            the caller must change the request
    |   |-- InvalidError            well-formed but invalid; `errors` maps fields to messages
    |   |   `-- DocumentInvalidError    a workflow document; the fields are places in it
    |   |-- MalformedError          not readable as JSON at all
    |   |-- TooLargeError           over a size limit
    |   |-- UnsupportedMediaError   a content type or file we do not read
    |   |-- UnauthenticatedError    no token, or another scheme
    |   |-- ForbiddenError          unknown token, or its scope is too small
    |   |-- NotFoundError           no such thing, or not the caller's
    |   `-- ConflictError           right request, wrong state
    |-- UnavailableError        the caller may come again; `retry_after_s` says when
    |   |-- NotConfiguredError      a setting is missing; `setting` names it
    |   |-- OverloadedError         queues are full or a rate is used up
    |   `-- StorageAwayError        the database or the broker does not answer
    |-- StepError               why a step did not end well; each class has a retry policy
    |   |-- TransientError          network, 429, 5xx
    |   |-- ResourceError           timeout, memory
    |   |-- LogicalError            an unusable answer
    |   |-- PersistentError         401, 400, quota: asking again cannot help
    |   `-- FatalError              a fault of ours, or the run's own end
    |-- StepParked              not a failure: the step gives its place back and comes again
    `-- SettingsError           the environment is not usable; lists every problem

HTTP knows these classes through one table in `app/http/problems.py`; nothing here knows HTTP.
"""

from __future__ import annotations

from typing import Any


class BatutaError(Exception):
    """Carry a stable slug, a sentence for a person, and whether trying again can help.

    Args:
        message: what was wrong, the value, and what to do; never a secret or an internal address.
        code: a stable slug; the class's own when not given.
        details: small JSON facts for the caller.
    """

    code = "error"
    retryable = False

    def __init__(self, message: str = "", *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        # Celery moves exceptions between processes; keyword arguments would be lost.
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))

    def __str__(self) -> str:
        return self.message or self.code


def _rebuild(cls: type[BatutaError], message: str, state: dict[str, Any]) -> BatutaError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class RequestError(BatutaError):
    """The caller must change the request before it can work."""

    code = "bad_request"


class InvalidError(RequestError):
    """A well-formed request with invalid content.

    Args:
        message: the summary.
        errors: field (dotted path) to a list of messages.
    """

    code = "invalid"

    def __init__(
        self, message: str = "", *, errors: dict[str, list[str]] | None = None, code: str | None = None
    ) -> None:
        super().__init__(message or "The request is not valid.", code=code)
        self.errors = errors or {}


class DocumentInvalidError(InvalidError):
    """A workflow document that cannot run; the keys of `errors` are places such as `workflow[1].tasks[0].model`."""

    code = "document_invalid"


class MalformedError(RequestError):
    """A body that is not JSON."""

    code = "malformed_json"


class TooLargeError(RequestError):
    """A body, file or document over its limit."""

    code = "too_large"


class UnsupportedMediaError(RequestError):
    """A content type, or a file, that we do not read."""

    code = "unsupported_media_type"


class UnauthenticatedError(RequestError):
    """No bearer token was given."""

    code = "unauthenticated"


class ForbiddenError(RequestError):
    """A token that is unknown, revoked or expired, or whose scope does not cover the route."""

    code = "forbidden"


class NotFoundError(RequestError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"


class ConflictError(RequestError):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class UnavailableError(BatutaError):
    """Nothing is wrong with the request; it cannot be served now.

    Args:
        message: what is missing.
        retry_after_s: seconds after which trying again is sensible.
    """

    code = "unavailable"
    retryable = True

    def __init__(self, message: str = "", *, retry_after_s: float = 5, code: str | None = None, **details: Any) -> None:
        super().__init__(message, code=code, **details)
        self.retry_after_s = retry_after_s


class NotConfiguredError(UnavailableError):
    """A setting is missing; `details["setting"]` names the variable to set."""

    code = "not_configured"


class OverloadedError(UnavailableError):
    """Queues are full, or a rate is used up."""

    code = "overloaded"


class StorageAwayError(UnavailableError):
    """The database or the broker does not answer."""

    code = "storage_away"


class StepError(BatutaError):
    """A step did not end well. The class decides how often it is tried again (`app/runs/retry.py`).

    Args:
        message: for the run's reader.
        retry_after_s: what the other side asked us to wait, if it did.
    """

    code = "step_failed"
    error_class = "fatal"

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, code: str | None = None, **details: Any
    ) -> None:
        super().__init__(message, code=code, **details)
        self.retry_after_s = retry_after_s


class TransientError(StepError):
    """Network trouble, 429, 5xx: likely to pass."""

    code = "transient"
    error_class = "transient"
    retryable = True


class ResourceError(StepError):
    """A time limit or memory."""

    code = "resource"
    error_class = "resource"
    retryable = True


class LogicalError(StepError):
    """The other side answered, and the answer cannot be used; asking with the complaint may help."""

    code = "logical"
    error_class = "logical"
    retryable = True


class PersistentError(StepError):
    """401, 400, 402, quota, a retired model: the same request cannot succeed; another model may."""

    code = "persistent"
    error_class = "persistent"


class FatalError(StepError):
    """A fault of ours, or a condition nobody can retry."""

    code = "fatal"
    error_class = "fatal"


class StepParked(BatutaError):  # noqa: N818 - not a failure: control flow of a step
    """The step cannot go on now: it gives its place back and is woken by time, money, a slot or a person.

    Args:
        reason: `rate`, `slot`, `budget`, `breaker`, `vendor`.
        delay_s: come again after this long at the latest; None waits to be woken.
    """

    code = "parked"

    def __init__(self, reason: str, *, delay_s: float | None = None) -> None:
        super().__init__(f"parked: {reason}")
        self.reason = reason
        self.delay_s = delay_s


class SettingsError(BatutaError):
    """The environment is not usable; `problems` lists everything that is wrong, at once."""

    code = "settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The settings are not usable:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems
