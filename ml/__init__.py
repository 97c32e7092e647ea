"""Scorers that learn from likes and corrections: leaf package, arrays and frames only, no database."""

from ml.card import Card, Verdict
from ml.choosing import Pick, estimate_policy
from ml.errors import ArtifactError, LearningError, RowsError
from ml.frame import Frame, as_frame
from ml.preference import Explanation, Preference
from ml.roster import Roster
from ml.scorers import Scorer, fit, load
from ml.table import Options

__all__ = [
    "ArtifactError",
    "Card",
    "Explanation",
    "Frame",
    "LearningError",
    "Options",
    "Pick",
    "Preference",
    "Roster",
    "RowsError",
    "Scorer",
    "Verdict",
    "as_frame",
    "estimate_policy",
    "fit",
    "load",
]
