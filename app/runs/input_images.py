"""Read what a task's `input_image` was rendered to: a data URI, an asset's hash, or another step's output. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from app.errors import FatalError

MOST_IMAGES = 16
_HASH = re.compile(r"[0-9a-f]{64}")
_REFERENCE = "asset:"


def read_images(rendered: Any) -> tuple[str, ...]:
    """List the images, as data URIs and references to assets; of a step's output all that are images.

    Raises:
        FatalError: it is something else; an address is never fetched.
    """
    images = tuple(dict.fromkeys(_walk(rendered)))
    if len(images) > MOST_IMAGES:
        raise FatalError(f"input_image holds {len(images)} images; {MOST_IMAGES} are the most.", code="image_invalid")
    if not images and not _is_empty(rendered):
        raise _unreadable()
    return images


def _walk(value: Any) -> Iterator[str]:
    if _is_empty(value):
        return
    if isinstance(value, list):
        for item in value:
            yield from _walk(item)
    elif isinstance(value, dict) and "assets" in value:
        yield from _walk(value["assets"])
    elif isinstance(value, dict) and _HASH.fullmatch(str(value.get("hash", ""))):
        if str(value.get("media_type", "image/")).startswith("image/"):
            yield _REFERENCE + value["hash"]
    elif isinstance(value, str) and value.startswith("data:image/"):
        yield value
    elif isinstance(value, str) and _HASH.fullmatch(value.removeprefix(_REFERENCE)):
        yield _REFERENCE + value.removeprefix(_REFERENCE)
    else:
        raise _unreadable()


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _unreadable() -> FatalError:
    return FatalError(
        "input_image must be a data URI of an image, the hash of an asset of yours, or the output of a step that made "
        "images.",
        code="image_invalid",
    )
