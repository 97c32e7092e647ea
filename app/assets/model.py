"""The words of assets: what one is, how its address is signed, and who refers to it. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

HASH = re.compile(r"[0-9a-f]{64}")
REFERENCE = "asset:"
"""Stands before a hash where an address of an image is expected, as in a question to a model."""
SIGNED_FOR_S = 7 * 86_400
"""How long a signed address opens its asset."""
MOST_BYTES = 256 * 1024 * 1024
"""Of one asset: a minute of film in 4k; what is larger is refused before all of it was read."""
SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/webm": "webm",
}
"""The kinds of files that are kept. None of them is a page or a script to a browser."""


@dataclass(frozen=True)
class Facts:
    """What a file's own bytes say of it; None where they do not."""

    media_type: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Asset:
    """One file of one owner's.

    Args:
        hash: SHA-256 of the content, in hex.
        owner: whose it is; the same content may be several owners'.
        facts: what it is.
        size_bytes: of the content.
    """

    hash: str
    owner: str
    facts: Facts
    size_bytes: int

    @property
    def media_type(self) -> str:
        """One of `SUFFIXES`."""
        return self.facts.media_type

    @property
    def is_image(self) -> bool:
        """Whether a model that looks at images can be shown it."""
        return self.media_type.startswith("image/")

    def to_json(self) -> dict[str, Any]:
        """Write it for a step's output; what is not known is left out."""
        facts = self.facts
        shown = {"width": facts.width, "height": facts.height, "seconds": facts.seconds}
        known = {name: value for name, value in shown.items() if value is not None}
        return {"hash": self.hash, "media_type": self.media_type, "size_bytes": self.size_bytes, **known}


def hash_of(content: bytes) -> str:
    """Name a content."""
    return hashlib.sha256(content).hexdigest()


def is_hash(text: str) -> bool:
    """Say whether a text can be an asset's name at all."""
    return HASH.fullmatch(text) is not None


def run_holder(run_id: str) -> str:
    """Name a run as what refers to an asset; such references fall with the run."""
    return f"run:{run_id}"


def sign(key: bytes, asset_hash: str, expires: int) -> str:
    """Sign an address: whoever holds it may open this asset until then, and no other."""
    return hmac.new(key, f"asset\n{asset_hash}\n{expires}".encode(), hashlib.sha256).hexdigest()


def signed_path(key: bytes, asset_hash: str, now_s: float) -> str:
    """Write the path that opens an asset for seven days.

    The end is put up to the next full hour, so that addresses made shortly after each other are the same and caches
    find them.
    """
    expires = (int(now_s) // 3600 + 1) * 3600 + SIGNED_FOR_S - 3600
    query = urlencode({"expires": expires, "signature": sign(key, asset_hash, expires)})
    return f"/assets/{asset_hash}?{query}"


def is_signed(key: bytes, asset_hash: str, expires: str, signature: str, now_s: float) -> bool:
    """Judge a signature, in constant time; one from the far future was not made here."""
    if not expires.isascii() or not expires.isdigit() or len(expires) > 12:  # noqa: PLR2004 - digits of a far future
        return False
    fresh = now_s < int(expires) <= now_s + SIGNED_FOR_S + 3600
    genuine = hmac.compare_digest(sign(key, asset_hash, int(expires)).encode(), signature.encode("utf-8", "replace"))
    return genuine and fresh
