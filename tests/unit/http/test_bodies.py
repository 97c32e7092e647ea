from __future__ import annotations

import contextlib
import io
import json

import pytest
from gunicorn.http.errors import InvalidChunkSize  # type: ignore[import-untyped]  # it ships no types
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from app.errors import MalformedError, TooLargeError, UnsupportedMediaError
from app.http.bodies import BODY_LENGTH_MAX, parse_json, read_json


def request(body: bytes, content_type: str | None) -> Request:
    return Request(EnvironBuilder(method="POST", data=body, content_type=content_type).get_environ())


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"a": NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b"[-1e999]",
        b"\xff\xfe",
        b"'a'",
        b'{"a": 1,}',
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'"a\\u0000b"',
        b'{"\\u0000": 1}',
        b"[" * 100_000,
        b"[" * 300 + b"]" * 300,
        b"18446744073709551616",
        b"-9223372036854775809",
        b"1" * 10_000,
        b'"\x00"',
    ],
)
def test_what_could_not_be_stored_is_refused_at_the_door(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_json(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"18446744073709551615", 2**64 - 1),
        (b"[1e5]", [1e5]),
    ],
)
def test_odd_but_sound_json_is_read(raw: bytes, value: object) -> None:
    assert parse_json(raw) == value


@given(st.binary(max_size=60))
def test_no_bytes_whatever_raise_anything_else(raw: bytes) -> None:
    with contextlib.suppress(MalformedError):
        json.dumps(parse_json(raw), allow_nan=False).encode()


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded"])
def test_what_curl_sends_is_read_as_json_on_the_users_routes_only(content_type: str | None) -> None:
    assert read_json(request(b'{"a": 1}', content_type), tolerant=True) == {"a": 1}
    with pytest.raises(UnsupportedMediaError):
        read_json(request(b'{"a": 1}', content_type), tolerant=False)


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "multipart/form-data; boundary=x"])
def test_other_types_are_refused_everywhere(content_type: str) -> None:
    for tolerant in (True, False):
        with pytest.raises(UnsupportedMediaError):
            read_json(request(b"<a/>", content_type), tolerant=tolerant)


def test_another_charset_is_refused() -> None:
    with pytest.raises(UnsupportedMediaError):
        read_json(request(b"{}", "application/json; charset=utf-16"), tolerant=True)


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=UTF-8", "application/vnd.x+json"]
)
def test_json_types_are_read(content_type: str) -> None:
    assert read_json(request(b"[1]", content_type), tolerant=False) == [1]


def test_an_empty_body_is_an_empty_object_whatever_its_type() -> None:
    assert read_json(request(b"", "application/xml"), tolerant=False) == {}
    assert read_json(request(b" \n", None), tolerant=False) == {}


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLargeError):
        read_json(request(b" " * (BODY_LENGTH_MAX + 1), "application/json"), tolerant=True)


class _Breaking(io.RawIOBase):
    """A body whose chunks are none."""

    def read(self, size: int = -1) -> bytes:
        raise InvalidChunkSize(size)


@pytest.mark.parametrize(
    ("stream", "length"), [(io.BytesIO(b'{"message": "x"}'), "50"), (_Breaking(), None)], ids=["cut", "broken"]
)
def test_a_body_that_does_not_come_whole_is_refused(stream: io.IOBase, length: str | None) -> None:
    environ = {"REQUEST_METHOD": "POST", "wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_LENGTH": length}
    with pytest.raises(MalformedError):
        read_json(Request({name: value for name, value in environ.items() if value is not None}), tolerant=True)
