"""What can go wrong here, in one small tree.

LearningError
|-- RowsError       the rows or the label cannot be learned from or scored
`-- ArtifactError   a saved scorer is missing, broken, or made by something else
"""

from __future__ import annotations


class LearningError(Exception):
    """Anything this package raises on purpose."""


class RowsError(LearningError):
    """The rows or the label cannot be used; the message names the column and says what to do."""


class ArtifactError(LearningError):
    """A saved scorer is missing, broken, or of another kind; the one before it should go on serving."""
