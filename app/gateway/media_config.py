"""Read what a task's config wishes of an image or a film, in the words that users write. Pure.

What one kind cannot have is refused with the reason; keys that are nobody's are left alone, as everywhere. Two words
have no counterpart on any wire of today and go into the prompt: `negative_prompt`, and silence. `enhance_prompt`
changes nothing: these models work a prompt out by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import FatalError

MOST_IMAGES = 4
MOST_SECONDS = 60
DEFAULT_SECONDS = 8
LONGEST_NEGATIVE = 2000
RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
FILM_RATIOS = ("16:9", "9:16")
RESOLUTIONS = ("360p", "720p", "1080p", "4k")
QUALITIES = {
    "draft": "1K",
    "low": "1K",
    "medium": "1K",
    "standard": "1K",
    "1k": "1K",
    "high": "2K",
    "hd": "2K",
    "2k": "2K",
    "ultra": "4K",
    "4k": "4K",
}
SAFETY = {
    "most": "low_and_above",
    "block_most": "low_and_above",
    "block_low_and_above": "low_and_above",
    "some": "medium_and_above",
    "block_some": "medium_and_above",
    "block_medium_and_above": "medium_and_above",
    "few": "only_high",
    "block_few": "only_high",
    "block_only_high": "only_high",
    "none": "none",
    "block_none": "none",
}
_ONLY_IMAGES = frozenset({"num_images", "quality", "safety_filter"})
_ONLY_FILM = frozenset({"duration", "resolution", "generate_audio"})
_SECONDS = re.compile(r"([0-9]{1,3})(?:\.0+)?\s*s?")


@dataclass(frozen=True)
class ImageWishes:
    """What an image shall be like; None leaves the vendor's way."""

    count: int = 1
    aspect_ratio: str | None = None
    size: str | None = None
    safety: str | None = None
    negative: str = ""

    def prompt(self, asked: str) -> str:
        """Put to the prompt what only words can say."""
        return _without(asked, self.negative)


@dataclass(frozen=True)
class FilmWishes:
    """What a film shall be like; None leaves the vendor's way."""

    seconds: int = DEFAULT_SECONDS
    aspect_ratio: str | None = None
    resolution: str | None = None
    silent: bool = False
    negative: str = ""

    def prompt(self, asked: str) -> str:
        """Put to the prompt what only words can say."""
        silence = "\n\nThe film is silent: no speech, no music, no sounds." if self.silent else ""
        return _without(asked, self.negative) + silence


def _without(asked: str, negative: str) -> str:
    return f"{asked}\n\nNone of this is to be seen: {negative}" if negative else asked


def read_image_wishes(config: Mapping[str, Any]) -> ImageWishes:
    """Read the config of an image's task.

    Raises:
        FatalError: `config_invalid`, with everything that is wrong.
    """
    reader = _Reader(config, foreign=_ONLY_FILM, kind="an image")
    wishes = ImageWishes(
        count=reader.take("num_images", _COUNT, 1),
        aspect_ratio=reader.take("aspect_ratio", _one_of(RATIOS), None),
        size=reader.take("quality", _word_of(QUALITIES), None),
        safety=reader.take("safety_filter", _word_of(SAFETY), None),
        negative=reader.take("negative_prompt", _text, ""),
    )
    reader.take("enhance_prompt", _flag, None)
    reader.refuse()
    return wishes


def read_film_wishes(config: Mapping[str, Any]) -> FilmWishes:
    """Read the config of a film's task; errors as `read_image_wishes`."""
    reader = _Reader(config, foreign=_ONLY_IMAGES, kind="a film")
    wishes = FilmWishes(
        seconds=reader.take("duration", _seconds, DEFAULT_SECONDS),
        aspect_ratio=reader.take("aspect_ratio", _one_of(FILM_RATIOS), None),
        resolution=reader.take("resolution", _resolution, None),
        silent=not reader.take("generate_audio", _flag, True),
        negative=reader.take("negative_prompt", _text, ""),
    )
    reader.take("enhance_prompt", _flag, None)
    reader.refuse()
    return wishes


def foreseen_pieces(config: Mapping[str, Any], kind: str) -> int:
    """Say how many images, or seconds of film, a task will make; what only its run knows counts as the default."""
    name, read, default = ("duration", _seconds, DEFAULT_SECONDS) if kind == "video" else ("num_images", _COUNT, 1)
    try:
        return int(read(config[name])) if config.get(name) else default
    except ValueError:
        return default


class _Reader:
    """Reads values and collects what is wrong."""

    def __init__(self, config: Mapping[str, Any], *, foreign: frozenset[str], kind: str) -> None:
        self._config = config
        self._problems = {
            name: f"does not apply to {kind}" for name in sorted(foreign) if config.get(name) not in (None, "")
        }

    def take(self, name: str, read: Callable[[Any], Any], default: Any) -> Any:
        value = self._config.get(name)
        if value is None or value == "":
            return default
        try:
            return read(value)
        except ValueError as error:
            self._problems[name] = str(error)
            return default

    def refuse(self) -> None:
        if self._problems:
            listed = "; ".join(f"{name} {problem}" for name, problem in self._problems.items())
            raise FatalError(f"The config of this step cannot be used: {listed}.", code="config_invalid")


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        text = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,6}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _one_of(known: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return str(value)

    return read


def _word_of(known: Mapping[str, str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        found = known.get(value.strip().lower()) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"must be one of {', '.join(known)}")
        return found

    return read


def _resolution(value: Any) -> str:
    return _one_of(RESOLUTIONS)(value.strip().lower() if isinstance(value, str) else value)


def _seconds(value: Any) -> int:
    found = None if isinstance(value, bool) else _SECONDS.fullmatch(str(value).strip().lower())
    if found is None or not 1 <= int(found[1]) <= MOST_SECONDS:
        raise ValueError(f"must be whole seconds from 1 to {MOST_SECONDS}")
    return int(found[1])


def _flag(value: Any) -> bool:
    said = str(value).strip().lower()
    if said not in {"true", "false"}:
        raise ValueError("must be true or false")
    return said == "true"


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NEGATIVE:
        raise ValueError(f"must be a text of at most {LONGEST_NEGATIVE} characters")
    return value.strip()


_COUNT = _whole(1, MOST_IMAGES)
