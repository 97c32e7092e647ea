"""The studio's words and its pure rules: numbers, slices, scores, summaries, fingerprints."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.errors import InvalidError

MAX_IDEAS = 50
MAX_PROMPTS = 500
SLICE_SIZE = 10  # the Generator makes at most this many at once
MAX_ATTRIBUTES = 64
MAX_ID_CHARS = 200
MAX_NAME_CHARS = 200
MAX_ATTRIBUTE_CHARS = 500
MAX_RENDERER_CHARS = 100
MAX_SKELETON_CHARS = 8_000
MAX_PROMPT_CHARS = 20_000
MAX_URL_CHARS = 2_000
MAX_STRUCTURES_A_REQUEST = 1_000
UNKNOWN_SCORE = 0.5  # of a structure nobody has judged; the originals use the same
SCORES_FRESH = timedelta(hours=24)
REPEAT_WINDOW = timedelta(days=30)  # a prompt's words do not come again within it
IDEA_WINDOW = timedelta(days=90)  # nor an idea's

BATCH_DISABLED = "batch_disabled"
RETRAIN_IN_PROGRESS = "retrain_in_progress"
RATES = "rates"  # the model version of scores that are smoothed like rates

# What the users' tables call a structure that is no longer to be used.
RETIRED_STATUSES = frozenset(
    {"removed", "retired", "archived", "inactive", "disabled", "declined", "deprecated", "paused", "rejected"}
)


@dataclass(frozen=True)
class Structure:
    """A way to build prompts that people can like or not.

    Args:
        structure_id: a number or a text, always as text.
        record_id: its Airtable record.
        statistics: `liked` and `shown` counted before us, where somebody counted.
        parent: the structure it descends from.
    """

    structure_id: str
    skeleton: str
    record_id: str | None = None
    renderer: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)
    status: str = "active"
    source: str = "api"
    parent: str | None = None
    created_at: datetime | None = None

    @property
    def usable(self) -> bool:
        """Whether prompts may be built with it."""
        return self.status.casefold() not in RETIRED_STATUSES


@dataclass(frozen=True)
class Named:
    """A designer or a garment as Airtable names it."""

    record_id: str
    name: str


@dataclass(frozen=True)
class IdeaDraft:
    """A proposed structure, before it is stored."""

    skeleton: str
    renderer: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    source: str = "plain"
    external_id: str | None = None
    status: str = "proposed"


@dataclass(frozen=True)
class PromptDraft:
    """A prompt, before it is stored. Record ids are Airtable's.

    Args:
        place: its place in the whole batch, from 0.
        structure_id: ours; None when none of ours was used.
        explored: the structure was drawn by uncertainty, not by score.
        propensity: probability with which that structure was drawn.
    """

    text: str
    renderer: str
    place: int = 0
    structure_id: str | None = None
    structure_record_id: str | None = None
    designer: Named | None = None
    garment: Named | None = None
    explored: bool = False
    propensity: float | None = None
    source: str = "plain"


@dataclass(frozen=True)
class Asked:
    """What a request says; None where it says nothing."""

    force_retrain: bool = False
    num_ideas: int | None = None
    num_prompts: int | None = None
    renderer: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give it as the request's own fields."""
        return {
            "force_retrain": self.force_retrain,
            "num_ideas": self.num_ideas,
            "num_prompts": self.num_prompts,
            "renderer": self.renderer,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Asked:
        """Read it back from `to_json`'s form."""
        return cls(raw.get("force_retrain") is True, raw.get("num_ideas"), raw.get("num_prompts"), raw.get("renderer"))


@dataclass(frozen=True)
class SettingsRecord:
    """The settings row of a base; None where it says nothing, `notes` what is odd about it."""

    enabled: bool = True
    num_ideas: int | None = None
    num_prompts: int | None = None
    renderer: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Numbers:
    """How much a batch makes, and for which renderer."""

    num_ideas: int
    num_prompts: int
    renderer: str


def check_asked(asked: Asked, *, fewest_prompts: int = 0) -> Asked:
    """Refuse numbers out of range, all at once.

    Args:
        asked: the request.
        fewest_prompts: 0 for a batch, 1 for a manual generation.

    Returns:
        The same, with a blank renderer read as none.

    Raises:
        InvalidError: a number or the renderer is out of range.
    """
    errors: dict[str, list[str]] = {}
    if asked.num_ideas is not None and not 0 <= asked.num_ideas <= MAX_IDEAS:
        errors["num_ideas"] = [f"Must be between 0 and {MAX_IDEAS}."]
    if asked.num_prompts is not None and not fewest_prompts <= asked.num_prompts <= MAX_PROMPTS:
        errors["num_prompts"] = [f"Must be between {fewest_prompts} and {MAX_PROMPTS}."]
    renderer = clean(asked.renderer or "", keep_lines=False) or None
    if renderer is not None and len(renderer) > MAX_RENDERER_CHARS:
        errors["renderer"] = [f"Must be at most {MAX_RENDERER_CHARS} characters."]
    if errors:
        raise InvalidError("The numbers of the batch are not valid.", errors=errors)
    return Asked(asked.force_retrain, asked.num_ideas, asked.num_prompts, renderer)


def resolve_numbers(asked: Asked, record: SettingsRecord, defaults: Numbers) -> tuple[Numbers, tuple[str, ...]]:
    """Take each number from the request, else the settings record, else the environment.

    Returns:
        The numbers, and a note for each of the record's that had to be moved into its range.
    """
    notes: list[str] = []

    def pick(name: str, wanted: int | None, recorded: int | None, default: int, most: int) -> int:
        if wanted is not None:
            return wanted
        if recorded is None:
            return default
        if 0 <= recorded <= most:
            return recorded
        used = min(max(recorded, 0), most)
        notes.append(f"settings: {name} is {recorded}, outside 0..{most}; {used} was used")
        return used

    ideas = pick("batchSize", asked.num_ideas, record.num_ideas, defaults.num_ideas, MAX_IDEAS)
    prompts = pick("numPrompts", asked.num_prompts, record.num_prompts, defaults.num_prompts, MAX_PROMPTS)
    return Numbers(ideas, prompts, asked.renderer or record.renderer or defaults.renderer), tuple(notes)


def cut_slices(total: int, size: int = SLICE_SIZE) -> list[dict[str, int]]:
    """Divide a batch's prompts for the Generator.

    Returns:
        `{offset, count, total}` a slice, in order; empty for 0.
    """
    return [{"offset": at, "count": min(size, total - at), "total": total} for at in range(0, total, size)]


def like_rate(liked: int, shown: int) -> float:
    """Smooth a like rate: (likes + 1) / (shown + 2), so that nothing seen is a half and one like is no certainty.

    Args:
        liked: likes of the structure.
        shown: prompts made from it; taken as at least `liked`, since old images may be liked too.

    Returns:
        0..1, exclusive.
    """
    return (liked + 1) / (max(shown, liked) + 2)


def rate_deviation(liked: int, shown: int) -> float:
    """Say how uncertain a like rate is: the standard deviation of Beta(likes + 1, misses + 1)."""
    a, b = liked + 1, max(shown - liked, 0) + 1
    return float((a * b / ((a + b) ** 2 * (a + b + 1))) ** 0.5)


def write_summary(learning: str | None, ideas: int | None, prompts: int | None) -> str:
    """Write the sentence that callers put into their mail.

    Args:
        learning: what came of a learning cycle that was tried.
        ideas: how many were made; None when the stage was skipped.
        prompts: the same.
    """
    parts = [f"Learning cycle {learning}"] if learning else []
    if ideas is not None:
        parts.append(f"{ideas} new structure ideas generated")
    if prompts is not None:
        parts.append(f"{prompts} prompts created")
    return ". ".join(parts or ["Nothing was asked for"]) + "."


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_WORDS = re.compile(r"[^\w]+", re.UNICODE)


def clean(text: str, *, keep_lines: bool = True) -> str:
    """Take out what no column may hold (NUL, lone surrogates, control signs) and outer blanks."""
    text = _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text.strip() if keep_lines else " ".join(text.split())


def fingerprint(text: str, attributes: Mapping[str, Any] | None = None) -> str:
    """Hash what a reader would call the same words: case, blanks and punctuation do not count."""
    words = _WORDS.sub(" ", text.casefold()).strip()
    extra = "".join(f"\n{name}={value}".casefold() for name, value in sorted((attributes or {}).items()))
    return hashlib.sha256((words + extra).encode()).hexdigest()


def read_structure_id(value: Any) -> str:
    """Read a number or a text as a structure's id.

    Raises:
        ValueError: neither, empty, or too long.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("Must be a number or a text.")  # noqa: TRY004 - a value of the caller's, not of ours
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("Must be a whole number or a text.")
        value = int(value)
    text = clean(str(value), keep_lines=False)
    if not 0 < len(text) <= MAX_ID_CHARS:
        raise ValueError(f"Must have 1 to {MAX_ID_CHARS} characters.")
    return text


def read_attributes(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Check a structure's attributes: up to 64 names to texts, numbers or flags.

    Raises:
        ValueError: too many, a name or a text too long, or a value that is no scalar.
    """
    if len(raw) > MAX_ATTRIBUTES:
        raise ValueError(f"Must have at most {MAX_ATTRIBUTES} names.")
    kept: dict[str, Any] = {}
    for name, value in raw.items():
        label = clean(str(name), keep_lines=False)
        if not 0 < len(label) <= MAX_NAME_CHARS:
            raise ValueError(f"Every name must have 1 to {MAX_NAME_CHARS} characters.")
        if value is not None:
            kept[label] = _read_scalar(label, value)
    return kept


def _read_scalar(label: str, value: Any) -> str | float | bool:
    if isinstance(value, str):
        text = clean(value)
        if len(text) > MAX_ATTRIBUTE_CHARS:
            raise ValueError(f"{label}: must have at most {MAX_ATTRIBUTE_CHARS} characters.")
        return text
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return value
    raise ValueError(f"{label}: must be a text, a number, true or false.")


def read_phrases(skeleton: str) -> list[str]:
    """Divide a skeleton at commas, semicolons and ends of sentences."""
    return [phrase.strip() for phrase in re.split(r"[,;\n]|\.(?:\s|$)", skeleton) if phrase.strip()]


def join_sentences(parts: Sequence[str]) -> str | None:
    """Join what went wrong into one text; None when nothing did."""
    sentences = [part.rstrip(". ") + "." for part in parts if part.strip()]
    return " ".join(dict.fromkeys(sentences)) or None


@dataclass(frozen=True)
class Listing:
    """One page of something, newest first, and how many there are in all."""

    items: tuple[dict[str, Any], ...]
    total: int


@dataclass(frozen=True)
class LikeCount:
    """The counter after a like.

    Args:
        likes: counted and not yet used for learning.
        at_last_try: where the counter stood when a cycle that learned nothing began.
        status: `recorded`, `threshold_reached`, `queued` or `duplicate`.
    """

    likes: int
    at_last_try: int
    status: str


def count_like(likes: int, at_last_try: int, threshold: int, *, cycle_running: bool) -> LikeCount:
    """Count one like more.

    A threshold is reached once: the next one lies `threshold` likes further on, whether or not anything was learned.
    """
    likes += 1
    if cycle_running:
        return LikeCount(likes, at_last_try, "queued")
    if likes - at_last_try >= threshold:
        return LikeCount(likes, likes, "threshold_reached")
    return LikeCount(likes, at_last_try, "recorded")


@dataclass(frozen=True)
class CycleEnd:
    """How a learning cycle ended.

    Args:
        status: `trained`, `kept_previous`, `skipped`, `failed` or `cancelled`.
        reason: why, for a person.
        metrics: what was measured.
        error: what `/status` shows as the last error; a training may have gone well and its scores not have arrived.
    """

    status: str
    reason: str | None = None
    metrics: dict[str, Any] | None = None
    error: str | None = None

    @property
    def consumes(self) -> bool:
        """Whether the likes have been used: a model was trained on them, better or not."""
        return self.status in {"trained", "kept_previous"}

    @property
    def shown_status(self) -> str:
        """Give the word that callers know; a cancelled cycle failed."""
        return "failed" if self.status == "cancelled" else self.status
