"""Decide whether a step that failed is tried again, and when: a pure function over a small table.

    class        tries   then
    transient    5       back-off, full jitter, never before the other side asked for
    resource     2       the same
    logical      3       the same; the next call carries the complaint
    persistent   1       no second try: the gateway has already gone along the fallback models
    fatal        0       none

Only the engine acts on a decision; nothing here sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from app.errors import StepError

LONGEST_ASKED_WAIT_S = 3600.0
"""A Retry-After beyond this is cut: a step should not sleep for a day because a clock somewhere is wrong."""

TRIES: Mapping[str, int] = MappingProxyType({"transient": 5, "resource": 2, "logical": 3, "persistent": 1, "fatal": 0})
"""Most tries of a step for each error class."""

_NEVER_AGAIN = frozenset({"persistent", "fatal"})


@dataclass(frozen=True)
class Retry:
    """Try again after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True)
class GiveUp:
    """Do not try again; `reason` is one of `class` (its tries are used up) or `final` (asking again cannot help)."""

    reason: str


@dataclass(frozen=True)
class Backoff:
    """How waits grow: `base_s * factor ** (tries - 1)`, at most `most_s`; with full jitter any part of that."""

    base_s: float = 1.0
    factor: float = 2.0
    most_s: float = 30.0
    jitter: bool = True

    def delay_s(self, tries: int, random: Callable[[], float]) -> float:
        """Say how long to wait after so many failed tries (1 or more)."""
        ceiling = min(self.most_s, self.base_s * self.factor ** min(tries - 1, 63))
        return ceiling * random() if self.jitter else ceiling


@dataclass(frozen=True)
class Policy:
    """Tries a class and the waits between them."""

    tries: Mapping[str, int] = field(default_factory=lambda: TRIES)
    backoff: Backoff = field(default_factory=Backoff)


STANDARD = Policy()
MEDIA = Policy(tries={**TRIES, "transient": 3, "resource": 3}, backoff=Backoff(jitter=False))
"""Images and film keep the waits their users know: 1, 2, 4 seconds, three tries."""


def decide(
    error: StepError,
    tries: int,
    *,
    limit: int | None = None,
    random: Callable[[], float],
    policy: Policy = STANDARD,
) -> Retry | GiveUp:
    """Decide what follows a failed try.

    Args:
        error: why it failed; `details["final"]` true says that asking again cannot help.
        tries: tries of this error's class so far, this one included; 1 or more.
        limit: most tries, in place of the class's; never makes a persistent or fatal error worth another.
        random: a number from 0 (included) to 1, new on each call.
        policy: tries and waits.

    Returns:
        `Retry` with a wait that is never shorter than what the other side asked for, or `GiveUp`.
    """
    if error.details.get("final"):
        return GiveUp("final")
    allowed = policy.tries.get(error.error_class, 0)
    if limit is not None and error.error_class not in _NEVER_AGAIN:
        allowed = limit
    if tries >= allowed:
        return GiveUp("class")
    return Retry(_wait_s(error, tries, random, policy.backoff))


def _wait_s(error: StepError, tries: int, random: Callable[[], float], backoff: Backoff) -> float:
    wait_s = backoff.delay_s(tries, random)
    if error.retry_after_s is None:
        return wait_s
    asked_s = min(max(0.0, error.retry_after_s), LONGEST_ASKED_WAIT_S)
    # All who were refused were told the same moment; spread them over a second behind it.
    return max(wait_s, asked_s + backoff.base_s * random())
