"""Images and film: what is asked for, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.gateway.model import Usage


@dataclass(frozen=True)
class MediaCall:
    """One wish for images or a film, from a model by its logical name.

    Args:
        model: logical name or alias.
        prompt: what is to be seen.
        owner: whose the result is.
        holder: what refers to the result, such as a run.
        config: the media options of a task.
        images: data URIs, or references to assets (`asset:<hash>`), to begin from.
        fallback: logical names to go to in place of the registry's; None leaves those.
        timeout_s: most seconds for one request to a vendor.
    """

    model: str
    prompt: str
    owner: str
    holder: str
    config: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    fallback: tuple[str, ...] | None = None
    timeout_s: float = 300.0


@dataclass(frozen=True)
class Picture:
    """An image to begin from."""

    media_type: str
    content: bytes


@dataclass(frozen=True)
class ImageRequest:
    """One image from one vendor; None leaves the vendor's default.

    Args:
        provider: name in the registry.
        model: the vendor's id.
        prompt: what is to be seen, and what is not.
        aspect_ratio: such as `16:9`.
        size: `1K`, `2K` or `4K`.
        safety: how much is filtered: `low_and_above`, `medium_and_above`, `only_high` or `none`.
        pictures: to begin from.
        extra: wire parameters from the registry.
        timeout_s: most seconds to wait.
    """

    provider: str
    model: str
    prompt: str
    aspect_ratio: str | None = None
    size: str | None = None
    safety: str | None = None
    pictures: tuple[Picture, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 300.0


@dataclass(frozen=True)
class ImageAnswer:
    """What a vendor answered.

    Args:
        content: the image's file; empty when it was refused.
        model: the id the vendor says it used.
        vendor_id: the answer's id at the vendor.
        usage: tokens.
        refusal: why there is no image; empty when there is one.
    """

    content: bytes
    model: str
    vendor_id: str
    usage: Usage
    refusal: str = ""


@dataclass(frozen=True)
class FilmRequest:
    """One film from one vendor; None leaves the vendor's default.

    Args:
        provider: name in the registry.
        model: the vendor's id.
        prompt: what happens, and what does not.
        seconds: its length.
        aspect_ratio: `16:9` or `9:16`.
        resolution: `360p`, `720p`, `1080p` or `4k`.
        pictures: to begin from.
        extra: wire parameters from the registry.
        timeout_s: most seconds to wait for the job to be taken.
    """

    provider: str
    model: str
    prompt: str
    seconds: int
    aspect_ratio: str | None = None
    resolution: str | None = None
    pictures: tuple[Picture, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 300.0


class FilmStatus(StrEnum):
    """Where a vendor's job is."""

    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    """Nothing came of it, and asking again may help."""
    REFUSED = "refused"
    """Nothing came of it, and nothing will."""


@dataclass(frozen=True)
class FilmState:
    """A vendor's job as it stands.

    Args:
        job_id: the vendor's.
        status: where it is.
        content: the film's file where the vendor hands it over with the state.
        uri: where the vendor keeps it otherwise.
        usage: tokens, once it is done.
        said: the vendor's words on a failure.
    """

    job_id: str
    status: FilmStatus
    content: bytes = b""
    uri: str = ""
    usage: Usage = field(default_factory=Usage)
    said: str = ""


@dataclass(frozen=True)
class VendorJob:
    """What the ledger knows of a step's newest job that may be alive.

    Args:
        ordinal: the call's.
        job_id: the vendor's id; None when it was never heard.
        request: as the ledger keeps it.
        age_s: seconds since it was sent.
        retried: a person had the run tried again since.
        code: why it was given up, where it was.
    """

    ordinal: int
    job_id: str | None
    request: Mapping[str, Any]
    age_s: float
    retried: bool
    code: str = ""


@dataclass(frozen=True)
class MediaAnswer:
    """What a step gets: the assets as its output shows them, and the model, by its logical name."""

    assets: tuple[Mapping[str, Any], ...]
    model: str

    @property
    def output(self) -> dict[str, Any]:
        """What the step's variable becomes."""
        return {"assets": [dict(asset) for asset in self.assets]}
