"""The public surface: fit a scorer on rows of any form, and load a saved one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml import artifact
from ml.errors import ArtifactError, RowsError
from ml.fitting import fit_preference
from ml.frame import Rows, is_numeric
from ml.preference import Preference
from ml.table import Column, Options, Roles, read_table

Scorer = Preference


def fit(
    rows: Rows,
    label: Column,
    group: Column = None,
    weight: Column = None,
    time: Column = None,
    *,
    item: Column = None,
    question: Column = None,
    running: Scorer | None = None,
    options: Options | None = None,
) -> Scorer:
    options = options or Options()
    table = read_table(rows, Roles(label, group, weight, time, item, question), options)
    return fit_preference(table, options, running)


def load(path: str | Path) -> Scorer:
    return Preference.from_content(artifact.read(path))
