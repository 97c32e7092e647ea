"""What the three services that users may already run answer; `simulator/siblings.py` serves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Optimizer:
    """What the Optimizer answers; a test may change any of it."""

    train: dict[str, Any] = field(
        default_factory=lambda: {
            "status": "success",
            "training_samples": 240,
            "positive_samples": 60,
            "negative_samples": 180,
            "auc_score": 0.74,
            "model_path": "models/preference",
        }
    )
    structures: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"structure_id": number, "predicted_success_score": score}
            for number, score in ((1, 0.81), (2, 0.44), (3, 0.27))
        ]
    )
    preference: dict[str, float] = field(default_factory=lambda: {"linen": 0.9, "backlight": 0.6, "studio": 0.2})
    insights: dict[str, Any] | None = field(
        default_factory=lambda: {
            "1": {
                "top_prompts": [{"prompt_preview": "linen coat", "success_rate": 0.6, "sample_count": 10}],
                "avg_success_rate": 0.4,
            }
        }
    )
    delay_s: float = 0.0


@dataclass
class Strategist:
    """What the Strategist answers. `ideas`: how many a run makes."""

    ideas: int = 5
    disabled: bool = False
    settings_missing: bool = False
    delay_s: float = 0.0


@dataclass
class Generator:
    """What the Generator answers. `short_by`: prompts left out of each slice; `as_text`: bare strings."""

    short_by: int = 0
    as_text: bool = False
    delay_s: float = 0.0
    preferences: dict[str, Any] = field(default_factory=dict)
    made: int = 0


@dataclass
class Siblings:
    """All three."""

    optimizer: Optimizer = field(default_factory=Optimizer)
    strategist: Strategist = field(default_factory=Strategist)
    generator: Generator = field(default_factory=Generator)

    def by_name(self) -> dict[str, Any]:
        """Map the names used in settings to the services."""
        return {"optimizer": self.optimizer, "strategist": self.strategist, "generator": self.generator}
