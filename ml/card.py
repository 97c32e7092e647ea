"""What a scorer says about itself: its card travels in its artifact and is all that a registry needs to know."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

CARD_VERSION = 1


@dataclass(frozen=True)
class Verdict:
    """Whether a new scorer may speak.

    Args:
        promote: yes or no.
        reason: one sentence for a person.
        difference: mean log loss of the new one minus the running one's (the baseline's, without a running one).
        interval: 95 % of `difference`, by groups.
    """

    promote: bool
    reason: str
    difference: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Card:
    """Facts about one fitted scorer.

    Args:
        kind: preference or roster.
        method: boosted, or smoothed_rates while there is too little to learn from.
        rows: learned from.
        positives: of them liked; for a roster the number of names.
        persons: told apart.
        window: first and last time as text; empty without times.
        split: what the metrics were measured on: time, group, random, or none.
        held_out: rows kept aside for the metrics.
        metrics: by name, on rows kept aside; `baseline_` and `running_` are the others' on the same rows.
        importances: share of the trees' gain (of the weights' spread, without trees) by attribute, largest first.
        calibration: (predicted, observed, rows) a bin, on rows kept aside.
        data_hash: fingerprint of the rows.
        feature_set: hash of the attributes' names and kinds: scorers of another set do not fit this data.
        verdict: whether to promote.
    """

    kind: str
    method: str
    rows: int
    positives: int
    persons: int
    window: tuple[str, str]
    split: str
    held_out: int
    data_hash: str
    feature_set: str
    metrics: dict[str, float] = field(default_factory=dict)
    importances: dict[str, float] = field(default_factory=dict)
    calibration: list[tuple[float, float, int]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=lambda: Verdict(promote=False, reason="not measured"))
    version: int = CARD_VERSION

    def to_json(self) -> dict[str, Any]:
        """Write the card as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Card:
        """Read what `to_json` wrote."""
        verdict = value["verdict"]
        return cls(
            **{
                **value,
                "window": tuple(value["window"]),
                "calibration": [(float(p), float(y), int(n)) for p, y, n in value["calibration"]],
                "verdict": Verdict(**{**verdict, "interval": tuple(verdict["interval"])}),
            }
        )
