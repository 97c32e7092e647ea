"""Persons, what is known of them, the documented formula, and what feedback changes. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ID_MIN, ID_MAX = -(2**63), 2**63 - 1
"""Bounds of a person's id: what a bigint column holds."""

MAX_NAME_CHARS = 200
MAX_ROLE_CHARS = 100
MAX_SKILLS = 200
MAX_METADATA_KEYS = 64
MAX_METADATA_CHARS = 8_000
MAX_COUNT = 1_000_000
MAX_PERSONS_A_REQUEST = 10_000
MAX_IDS_A_REQUEST = 5_000
MAX_WEIGHT = 1_000_000.0

DEFAULT_WEIGHTS: dict[str, float] = {
    "w_balance": 1.0,
    "w_skill": 1.0,
    "w_recent": 1.0,
    "w_unavailable": 100.0,
    "w_history": 1.0,
}
"""The formula's published weights. `w_unavailable` is kept for old callers: who is unavailable is not scored."""

FEEDBACK_STEP = 0.05
FIRST_ROLE_WEIGHT = 1.0
HEURISTIC = "heuristic"
"""The `model_version` of scores that nothing learned has a part in."""


class Result(StrEnum):
    """What came of an assignment."""

    ACCEPTED = "aceptada"
    REJECTED = "rechazada"
    CORRECTED = "corrigida"

    @property
    def weight_step(self) -> float:
        """How far it moves the role's weight."""
        return FEEDBACK_STEP if self is Result.ACCEPTED else -FEEDBACK_STEP


@dataclass(frozen=True)
class Facts:
    """What a person's metadata, or a request's stats, say; absent ones have the formula's defaults.

    Args:
        skills: roles the person can take, spelt as the role is.
        success_rate_for_role: 0..1; None: the history says.
    """

    skills: tuple[str, ...] = ()
    available: bool = True
    age: float | None = None
    experience_years: float | None = None
    assignments_last_4w: int = 0
    assigned_last_week: bool = False
    success_rate_for_role: float | None = None


@dataclass(frozen=True)
class Person:
    """Somebody who can be given tasks."""

    person_id: int
    nombre: str
    genero: str
    es_siervo: bool = False
    can_president: bool = False
    can_pray: bool = False
    can_conduct: bool = False
    can_read: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def facts(self, stats: Mapping[str, Any] | None = None) -> Facts:
        """Read what is known, a request's stats over what is stored.

        Raises:
            ValueError: see `read_facts`.
        """
        said = {name: value for name, value in (stats or {}).items() if value is not None}
        return read_facts({**self.metadata, **said})


@dataclass(frozen=True)
class Record:
    """How a person was judged in a role so far."""

    accepted: int = 0
    judged: int = 0

    @property
    def rate(self) -> float:
        """The share of accepted ones, as if there had been one yes and one no before."""
        return (self.accepted + 1) / (self.judged + 2)


@dataclass(frozen=True)
class Term:
    """One summand of the formula, with the words for it."""

    value: float
    reason: str


def read_facts(metadata: Mapping[str, Any]) -> Facts:
    """Read the keys that the formula knows; null counts as absent, other keys are passed over.

    Raises:
        ValueError: the first key whose value cannot be, with what it must be.
    """
    given = {name: metadata[name] for name in _READERS if metadata.get(name) is not None}
    values: dict[str, Any] = {}
    for name, value in given.items():
        try:
            values[name] = _READERS[name](value)
        except ValueError as error:
            raise ValueError(f"{name} {error}.") from None
    return Facts(**values)


def check_metadata(metadata: Mapping[str, Any], written_chars: int) -> None:
    """Refuse metadata that is too much, or whose known keys cannot be read.

    Args:
        metadata: a person's, as given.
        written_chars: its length as JSON.

    Raises:
        ValueError: says why.
    """
    if len(metadata) > MAX_METADATA_KEYS or written_chars > MAX_METADATA_CHARS:
        raise ValueError(f"Must hold at most {MAX_METADATA_KEYS} keys and {MAX_METADATA_CHARS} characters of JSON.")
    read_facts(metadata)


def role_weight_name(role: str) -> str:
    """Name a role's own weight, the one that feedback moves."""
    return f"w_skill::{role}"


def weights_for(role: str, stored: Mapping[str, float], asked: Mapping[str, float] | None) -> dict[str, float]:
    """Choose the five weights of a request: what it gives, else what is stored, else the defaults.

    A role's own weight stands in for `w_skill` unless the request gives one of the two.
    """
    given = asked or {}
    own = role_weight_name(role)
    weights = {name: given.get(name, stored.get(name, default)) for name, default in DEFAULT_WEIGHTS.items()}
    if own in given:
        weights["w_skill"] = given[own]
    elif "w_skill" not in given and own in stored:
        weights["w_skill"] = stored[own]
    return weights


def formula(role: str, facts: Facts, record: Record, weights: Mapping[str, float]) -> tuple[Term, ...]:
    """Apply the documented formula to somebody who is available; the score is the terms' sum, in this order."""
    balance = weights["w_balance"] / (1 + facts.assignments_last_4w)
    skill = weights["w_skill"] if role in facts.skills else 0.0
    recent = -weights["w_recent"] if facts.assigned_last_week else 0.0
    rate = record.rate if facts.success_rate_for_role is None else facts.success_rate_for_role
    if facts.success_rate_for_role is not None:
        source = "as stated"
    elif record.judged:
        source = f"accepted {record.accepted} of {record.judged} times, smoothed"
    else:
        source = "nothing known yet"
    has = "has" if role in facts.skills else "lacks"
    last = "was assigned last week" if facts.assigned_last_week else "was free last week"
    return (
        Term(balance, f"{facts.assignments_last_4w} assignments in the last 4 weeks ({balance:+.3g})"),
        Term(skill, f"{has} the skill {role} ({skill:+.3g})"),
        Term(recent, f"{last} ({recent:+.3g})"),
        Term(weights["w_history"] * rate, f"success rate {rate:.3g}, {source} ({weights['w_history'] * rate:+.3g})"),
    )


def features(role: str, person: Person | None, facts: Facts, record: Record) -> dict[str, Any]:
    """Describe a person in a role for a learned scorer, by what is known now.

    Kept with every feedback too, so that a training sees what was known then and nothing later.
    """
    known: dict[str, Any] = {} if person is None else {name: getattr(person, name) for name in _PERSONAL}
    return {
        "role": role,
        "person_id": None if person is None else person.person_id,
        **known,
        "has_skill": role in facts.skills,
        "available": facts.available,
        "age": facts.age,
        "experience_years": facts.experience_years,
        "assignments_last_4w": facts.assignments_last_4w,
        "assigned_last_week": facts.assigned_last_week,
        "success_rate_for_role": facts.success_rate_for_role,
        "accepted": record.accepted,
        "judged": record.judged,
    }


def same_name(name: str) -> str:
    """Bring a name to the form in which names are compared: without case and outer blanks."""
    return unicodedata.normalize("NFC", name).strip().casefold()


_PERSONAL = ("genero", "es_siervo", "can_president", "can_pray", "can_conduct", "can_read")


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_SKILLS or not all(isinstance(v, str) for v in value):
        raise ValueError(f"must be a list of at most {MAX_SKILLS} texts")
    return tuple(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, int) and value in {0, 1}):
        return bool(value)
    raise ValueError("must be true or false")


def _number(low: float, high: float) -> Any:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(value)

    return read


def _count(value: Any) -> int:
    number: float = _number(0, MAX_COUNT)(value)
    if not number.is_integer():
        raise ValueError("must be a whole number")
    return int(number)


_READERS: dict[str, Any] = {
    "skills": _texts,
    "available": _flag,
    "age": _number(0, 200),
    "experience_years": _number(0, 200),
    "assignments_last_4w": _count,
    "assigned_last_week": _flag,
    "success_rate_for_role": _number(0, 1),
}
