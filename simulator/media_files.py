"""Small files of the kinds that models make: a PNG of one colour, an MP4 that says how long it is."""

from __future__ import annotations

import hashlib
import struct
import zlib

UNITY = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
TIMESCALE = 1000


def make_png(width: int, height: int, seed: str) -> bytes:
    """Draw a PNG; another seed, another colour."""
    colour = hashlib.sha256(seed.encode()).digest()[:3]
    rows = (b"\x00" + colour * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def make_mp4(width: int, height: int, seconds: float, seed: str) -> bytes:
    """Write an MP4 of one track whose headers tell size and length; its pictures are noise, by the seed."""
    length = int(seconds * TIMESCALE)
    movie = struct.pack(">IIIIIIH10x", 0, 0, 0, TIMESCALE, length, 0x10000, 0x100) + UNITY + bytes(24)
    movie += struct.pack(">I", 2)
    track = struct.pack(">IIII4xI8x2H2H", 7, 0, 0, 1, length, 0, 0, 0, 0) + UNITY
    track += struct.pack(">II", width << 16, height << 16)
    noise = hashlib.sha512(seed.encode()).digest() * 16
    moov = _box(b"moov", _box(b"mvhd", movie) + _box(b"trak", _box(b"tkhd", track)))
    return _box(b"ftyp", b"isom\x00\x00\x02\x00isommp41") + moov + _box(b"mdat", noise)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body
