"""Read a request's body as JSON, and refuse at the door what the database could not keep.

What callers' tools really send is allowed on the users' own routes: curl's form type and no type at all.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]  # it ships no types

from app.errors import MalformedError, TooLargeError, UnsupportedMediaError

if TYPE_CHECKING:
    from werkzeug import Request

BODY_LENGTH_MAX = 1024 * 1024
"""Bytes. Flask's MAX_CONTENT_LENGTH is one more: it cuts, without a word, bodies that do not say their length."""

FORM_TYPE = "application/x-www-form-urlencoded"
_JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json|text/json")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read_json(request: Request, *, tolerant: bool) -> Any:
    """Read the body.

    Args:
        request: the request under way.
        tolerant: also take a body without a content type, or with curl's form type, for JSON.

    Returns:
        The value; `{}` for an empty body.

    Raises:
        TooLargeError: over `BODY_LENGTH_MAX`.
        UnsupportedMediaError: a type that is not JSON.
        MalformedError: not JSON, or JSON that cannot be stored.
    """
    raw = read_whole(request)
    if not raw.strip():
        return {}
    _refuse_other_types(request, tolerant=tolerant)
    return parse_json(raw)


def read_whole(request: Request) -> bytes:
    """Read the body as it came, all of it or none.

    Raises:
        TooLargeError: over `BODY_LENGTH_MAX`, whether it says so or not.
        MalformedError: it ended before it should, or its pieces are not what HTTP wants.
    """
    said = request.content_length or 0
    try:
        # Kept as bytes: for a form type werkzeug would parse the stream instead.
        raw = b"" if said > BODY_LENGTH_MAX else request.get_data(cache=True, parse_form_data=False)
    except (ParseException, OSError):  # a chunk that is none, or a caller who is gone
        raise MalformedError("The body cannot be read to its end.") from None
    if max(said, len(raw)) > BODY_LENGTH_MAX:
        raise TooLargeError(f"The body is larger than {BODY_LENGTH_MAX} bytes.")
    if len(raw) < said:
        raise MalformedError(f"The body ended after {len(raw)} of {said} bytes.")
    return raw


def parse_json(raw: bytes) -> Any:
    """Parse JSON strictly.

    Refused besides broken text: NaN and infinities, numbers no 64 bits hold, lone surrogates, NUL characters
    and nesting of more than about 250 levels; none of them survives the way to jsonb and back.

    Raises:
        MalformedError: says which of these it was.
    """
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_float=_finite, parse_constant=_refuse_constant)
        written = orjson.dumps(value)
    except RecursionError:
        raise MalformedError("The JSON is nested too deeply.") from None
    except UnicodeDecodeError:
        raise MalformedError("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise MalformedError(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except TypeError as error:  # orjson's way to say: too deep, too large a number, a lone surrogate
        raise MalformedError(f"The JSON cannot be stored: {error}.") from None
    except ValueError:  # a whole number of thousands of digits
        raise MalformedError("The JSON holds a number that is too long.") from None
    if _NUL.search(written):
        raise MalformedError("The JSON holds a NUL character (\\u0000), which cannot be stored.")
    return value


def _refuse_other_types(request: Request, *, tolerant: bool) -> None:
    media_type = request.mimetype
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaError(f"The body must be UTF-8, not {charset[:40]!r}.")
    if _JSON_TYPE.fullmatch(media_type):
        return
    if tolerant and media_type in {"", FORM_TYPE}:
        return
    raise UnsupportedMediaError(f"The content type must be application/json, not {media_type[:100] or 'missing'!r}.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedError(f"The number {text[:40]} is beyond what a float holds.")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"{name} is not JSON.")
