"""What Google's studio remembers of its one customer: films under way, and how a test wants them to end."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Film:
    """One film under way; `ends` is fixed when it is handed in, as a test had set it then."""

    film_id: str
    ends_at: float
    ends: str
    error: dict[str, Any] | None
    delivery: str
    uri: str
    content: bytes
    seconds: int


@dataclass
class GoogleStudio:
    """One customer's account.

    Args:
        film_delay_s: how long a film handed in from now on takes.
        film_ends: in which state it ends.
        film_error: what is said of a failure.
        film_uri: in place of its own address; empty for that.
        film_inline: hand films over within the answer, whatever was asked.
        film_content: base64 of a file in place of a film.
        image_content: base64 of a file in place of an image.
        retired: ids that are gone.
    """

    film_delay_s: float = 0.0
    film_ends: str = "completed"
    film_error: dict[str, Any] | None = None
    film_uri: str = ""
    film_inline: bool = False
    film_content: str = ""
    image_content: str = ""
    retired: list[str] = field(default_factory=list)
    films: dict[str, Film] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
