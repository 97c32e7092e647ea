"""What a file says of itself, and what is not believed."""

from __future__ import annotations

import struct

import pytest

from app.assets.media import read_facts
from app.assets.model import Facts
from simulator.media_files import make_mp4, make_png

PNG = make_png(64, 36, "a")
MP4 = make_mp4(192, 108, 8, "a")
GIF = b"GIF89a" + struct.pack("<HH", 5, 7) + b"\x00\x00\x00;"
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    b"\xff\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 30, 40) + b"\x01\x01\x11\x00\xff\xda"
)
WEBP = b"RIFF\x00\x00\x00\x00WEBP"
VP8X = WEBP + b"VP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + (99).to_bytes(3, "little") + (49).to_bytes(3, "little")
VP8L = WEBP + b"VP8L\x00\x00\x00\x00\x2f" + ((11) | (21 << 14)).to_bytes(4, "little")
VP8 = WEBP + b"VP8 \x00\x00\x00\x00\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 320, 240)
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm"
LATE_MOOV = MP4[:24] + MP4[MP4.index(b"mdat") - 4 :] + MP4[24 : MP4.index(b"mdat") - 4]


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (PNG, Facts("image/png", 64, 36)),
        (GIF, Facts("image/gif", 5, 7)),
        (JPEG, Facts("image/jpeg", 40, 30)),
        (VP8X, Facts("image/webp", 100, 50)),
        (VP8L, Facts("image/webp", 12, 22)),
        (VP8, Facts("image/webp", 320, 240)),
        (MP4, Facts("video/mp4", 192, 108, 8.0)),
        (LATE_MOOV, Facts("video/mp4", 192, 108, 8.0)),
        (WEBM, Facts("video/webm")),
    ],
)
def test_kind_size_and_length_are_read_from_the_file_itself(content: bytes, facts: Facts) -> None:
    assert read_facts(content) == facts


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><script>alert(1)</script></html>",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"%PDF-1.7",
        b"MZ\x90\x00",
        b"PK\x03\x04",
        b"\x89PNG\r\n\x1a\n<html>",
        b"\xff\xd8\xff" + b"\xff" * 50,
        b"\xff\xd8\xff\xe0\x00\x00",
        b"GIF89a\x00\x00\x00\x00",
        b"GIF89a=1;alert(1)"[:7],
        WEBP + b"JUNK" + bytes(40),
        b"\x00\x00\x00\x18ftypheic" + bytes(40),
        b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska",
        b"\x00\x00\x00\x08ftyp",
    ],
)
def test_another_kind_or_a_broken_beginning_is_nothing(content: bytes) -> None:
    assert read_facts(content) is None


@pytest.mark.parametrize("whole", [PNG, JPEG, GIF, VP8X, VP8L, VP8, MP4, WEBM])
def test_a_file_that_was_cut_anywhere_is_read_or_refused_and_breaks_nothing(whole: bytes) -> None:
    for end in range(min(len(whole), 400)):
        read_facts(whole[:end])


def test_boxes_that_lie_about_their_size_do_not_go_round_for_ever() -> None:
    for size in (0, 1, 2, 7, 8, 2**32 - 1):
        box = struct.pack(">I4s", size, b"moov")
        read_facts(MP4[:24] + box * 50)
    nested = b""
    for _ in range(2000):
        nested = struct.pack(">I4s", len(nested) + 8, b"moov") + nested
    read_facts(MP4[:24] + nested)
