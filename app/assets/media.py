"""What a file says of itself: its kind by its own bytes, never by a name; size and length where they stand in it. Pure.

Only kinds of `SUFFIXES` are known. The readers go by the formats' own documents: PNG (W3C), JPEG (ITU-T T.81), GIF89a,
WebP (RFC 9649), ISO base media (ISO/IEC 14496-12), Matroska (RFC 9559).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from app.assets.model import Facts

PNG = b"\x89PNG\r\n\x1a\n"
FILM_BRANDS = (b"isom", b"iso", b"mp4", b"avc1", b"dash", b"M4V", b"MSNV")
"""Beginnings of the major brands under which an ISO base media file is a film and not, say, a HEIC picture."""
_CONTAINERS = {b"moov", b"trak"}
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset(range(0xD0, 0xD9)) | {0x01}
_START_OF_SCAN = 0xDA
_EXTENDED_SIZE = 1


def read_facts(content: bytes) -> Facts | None:
    """Read what a file is.

    Returns:
        None for what is not kept: another kind, or one whose beginning is broken.
    """
    for begins, read in _READERS:
        if begins(content):
            try:
                return read(content)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def _png(content: bytes) -> Facts | None:
    if content[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", content[16:24])
    return Facts("image/png", width, height) if width and height else None


def _gif(content: bytes) -> Facts | None:
    width, height = struct.unpack("<HH", content[6:10])
    return Facts("image/gif", width, height) if width and height else None


def _jpeg(content: bytes) -> Facts | None:
    at = 2
    while content[at] == 0xFF:  # noqa: PLR2004 - every marker begins so
        marker = content[at + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:  # noqa: PLR2004 - fill
            at += 1 if marker == 0xFF else 2  # noqa: PLR2004
            continue
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return Facts("image/jpeg", width, height) if width and height else None
        if marker == _START_OF_SCAN:
            return None
        at += 2 + struct.unpack(">H", content[at + 2 : at + 4])[0]
    return None


def _webp(content: bytes) -> Facts | None:
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L" and content[20] == 0x2F:  # noqa: PLR2004 - its signature
        bits = int.from_bytes(content[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = (value & 0x3FFF for value in struct.unpack("<HH", content[26:30]))
    else:
        return None
    return Facts("image/webp", width, height)


def _mp4(content: bytes) -> Facts | None:
    if not content[8:12].startswith(FILM_BRANDS):
        return None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    for kind, body in _boxes(memoryview(content)):
        if kind == b"mvhd":
            seconds = _length(body)
        elif kind == b"tkhd":
            sides = struct.unpack(">II", body[-8:])
            if all(sides):  # a track of sound has none
                width, height = (side >> 16 for side in sides)
    return Facts("video/mp4", width, height, seconds)


def _length(body: memoryview) -> float | None:
    layout = ">IQ" if body[0] == _EXTENDED_SIZE else ">II"
    at = 20 if body[0] == _EXTENDED_SIZE else 12
    scale, length = struct.unpack_from(layout, body, at)
    return round(length / scale, 3) if scale else None


def _boxes(content: memoryview, depth: int = 0) -> Iterator[tuple[bytes, memoryview]]:
    """Walk the boxes, into those that hold what is looked for; the film itself is stepped over."""
    at = 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        head = 8
        if size == _EXTENDED_SIZE:
            size, head = struct.unpack_from(">Q", content, at + 8)[0], 16
        size = size or len(content) - at
        if size < head:
            return
        body = content[at + head : at + size]
        if kind in _CONTAINERS and depth < len(_CONTAINERS):
            yield from _boxes(body, depth + 1)
        else:
            yield kind, body
        at += size


def _webm(content: bytes) -> Facts | None:
    return Facts("video/webm") if b"\x42\x82\x84webm" in content[:64] else None


_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Facts | None]], ...] = (
    (lambda content: content.startswith(PNG), _png),
    (lambda content: content.startswith(b"\xff\xd8\xff"), _jpeg),
    (lambda content: content.startswith((b"GIF87a", b"GIF89a")), _gif),
    (lambda content: content.startswith(b"RIFF") and content[8:12] == b"WEBP", _webp),
    (lambda content: content[4:8] == b"ftyp", _mp4),
    (lambda content: content.startswith(b"\x1a\x45\xdf\xa3"), _webm),
)
