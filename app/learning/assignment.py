"""The scorer of assignments, over `ml/`: P(accepted) of a person in a role, and its weight beside the formula.

What a feedback teaches: the person was accepted (1) or not (0) in the role; an alternative was accepted. The two rows
of a correction are a preference pair. Every row holds what was known before the feedback came, and nothing later.

Persons have no weights of their own: what they did in the role so far is in their success rate already, and counting it
twice made every measure worse.

More rest never hurts: the probability of a load is the least that any smaller load has, whatever the rows seem to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.assignments.model import DEFAULT_WEIGHTS, Facts, Record, formula
from app.learning.artifact_text import as_text, load_text
from app.learning.model import Columns, Trained, TrainingRows
from app.learning.ports import ScoredRows, Scorer, TooFewSamplesError, UnusableArtifactError
from app.learning.preference import FEWEST_POSITIVES, FEWEST_SAMPLES
from app.learning.weighing import weigh

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ml import Frame, Options, Preference

    Floats = NDArray[np.float64]

ASSIGNMENT = "assignment"
# Raised when the columns below change: a scorer of another set does not fit.
FEATURE_SET = "assignments-1"
PERSON, ROLE, LOAD, RECENT, RATE = "person_id", "role", "assignments_last_4w", "assigned_last_week", "rate"
SURE = 0.99  # a stated rate of 0 or 1 counts as this sure
MOST_LOAD = 6
"""Loads from here on are one: who had so many duties in four weeks had one nearly every meeting."""

_TEXTS = (ROLE, "genero")
_NUMBERS = (
    "es_siervo",
    "can_president",
    "can_pray",
    "can_conduct",
    "can_read",
    "has_skill",
    "age",
    "experience_years",
    RATE,
    LOAD,
    RECENT,
)
_HEADER = "batuta-assignment 1 weight="


def build_rows(feedback: Iterable[tuple[Mapping[str, Any], str, float]]) -> TrainingRows:
    """Turn feedback into rows to learn from.

    Args:
        feedback: what was known of the person, and of the alternative if there was one; the result; seconds since
            1970. Oldest first.
    """
    known: list[Mapping[str, Any]] = []
    labels: list[int] = []
    times_s: list[float] = []
    for facts, result, at_s in feedback:
        for who, label in (("person", int(result == "aceptada")), ("alternative", 1)):
            if facts.get(who):
                known.append(facts[who])
                labels.append(label)
                times_s.append(at_s)
    return TrainingRows(as_columns(known), labels, [1.0] * len(labels), times_s, item=PERSON)


def as_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Lay out rows as `app.assignments.model.features` makes them; the formula's own term comes along."""
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in (PERSON, *_TEXTS, *_NUMBERS)}
    columns[RATE] = [_rate(row) for row in rows]
    columns["formula"] = [_formula(row) for row in rows]
    return columns


class AssignmentModel:
    """A scorer of `ml/` behind our port, with its weight beside the formula.

    Args:
        scorer: P(accepted), before rest is seen to.
        weight: what a probability of 1 adds to the formula's score; above 0.
    """

    def __init__(self, scorer: Preference, weight: float) -> None:
        self.scorer = scorer
        self.weight = weight

    def score(self, columns: Columns) -> ScoredRows:
        """Score rows; draws are not made here, so the deviations are 0."""
        scores, _ = self._score_rested(columns)
        return ScoredRows(scores, [0.0] * len(scores))

    def explain(self, row: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Turn the parts' log odds into steps of probability, for the load whose probability counts; see the port."""
        from scipy.special import expit  # noqa: PLC0415 - as below

        columns = {name: [value] for name, value in row.items()}
        _, [(load, recent)] = self._score_rested(columns)
        frame = _frame({**columns, LOAD: [load], RECENT: [recent]})
        found = self.scorer.explain({name: column[0] for name, column in frame.columns.items()})
        at = found.base
        steps = [("assumed before anything is known", float(expit(at)))]
        for name, part in found.parts:
            steps.append((name, float(expit(at + part) - expit(at))))
            at += part
        return steps

    def _score_rested(self, columns: Columns) -> tuple[list[float], list[tuple[float, float]]]:
        """Score every load up to each row's own; the least counts."""
        import numpy as np  # noqa: PLC0415 - a process that asks no scorer never loads the mathematics

        frame = _frame(columns)
        if not len(frame):
            return [], []
        load, recent = frame.columns[LOAD], frame.columns[RECENT]
        steps = [(float(a), float(b)) for a in range(int(load.max()) + 1) for b in (0, 1)]
        asked = [np.flatnonzero((load >= a) & (recent >= b)) for a, b in steps]
        rows = np.concatenate(asked)
        sizes = [len(part) for part in asked]
        varied = dict(frame.take(rows).columns)
        varied[LOAD] = np.repeat([a for a, _ in steps], sizes)
        varied[RECENT] = np.repeat([b for _, b in steps], sizes)
        found = self.scorer.score(type(frame)(varied))
        best, at = np.full(len(frame), np.inf), np.zeros(len(frame), dtype=np.int64)
        start = 0
        for number, part in enumerate(asked):
            values = found[start : start + len(part)]
            lower = part[values < best[part]]
            at[lower], best[part] = number, np.minimum(best[part], values)
            start += len(part)
        return [float(value) for value in best], [steps[number] for number in at]


class AssignmentLearner:
    """Trains and reads scorers of assignments.

    Args:
        threads: of the training.
    """

    scorer = ASSIGNMENT
    feature_set = FEATURE_SET

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        """Train; it serves when it is no worse by itself, and puts people in a better order beside the formula."""
        check_enough(data.positives, data.samples - data.positives)
        before = running.scorer if isinstance(running, AssignmentModel) else None
        fitted = self._fit(data, range(data.samples), seed, before)
        judged = weigh(data, self._score_later(data, seed))
        card, verdict = fitted.card, fitted.card.verdict
        metrics = {**card.metrics, **judged.to_json(), "samples": data.samples, "positives": data.positives}
        reason = judged.reason if verdict.promote else verdict.reason
        promotes = verdict.promote and judged.promotes
        text = f"{_HEADER}{judged.weight:g}\n{as_text(fitted)}"
        return Trained(text, card.to_json(), metrics, promotes, reason)

    def _score_later(self, data: TrainingRows, seed: int) -> Callable[[Sequence[int], Sequence[int]], list[float]]:
        def score(known: Sequence[int], asked: Sequence[int]) -> list[float]:
            model = AssignmentModel(self._fit(data, known, seed), 1.0)
            return model.score(_take(data.columns, asked)).scores

        return score

    def _fit(
        self, data: TrainingRows, chosen: Sequence[int], seed: int, running: Preference | None = None
    ) -> Preference:
        from ml import Preference, fit  # noqa: PLC0415 - as above

        fitted = fit(
            _frame(_take(data.columns, chosen)),
            [data.labels[at] for at in chosen],
            time=[data.times_s[at] for at in chosen],
            running=running,
            options=_options(self._threads, seed),
        )
        if not isinstance(fitted, Preference):  # labels of 0 and 1 are likes
            raise UnusableArtifactError("The labels are no results.")
        return fitted

    def load(self, artifact: str) -> Scorer:
        """Read a saved scorer; see the port."""
        from ml import Preference, load  # noqa: PLC0415 - as above

        header, _, text = artifact.partition("\n")
        weight = _read_weight(header)
        loaded = load_text(load, text)
        if not isinstance(loaded, Preference):
            raise UnusableArtifactError("It is no scorer of assignments.")
        return AssignmentModel(loaded, weight)


def check_enough(accepted: int, refused: int) -> None:
    """Refuse to learn from next to nothing.

    Raises:
        TooFewSamplesError: says what is there and what is needed.
    """
    if accepted + refused < FEWEST_SAMPLES or min(accepted, refused) < FEWEST_POSITIVES:
        raise TooFewSamplesError(
            f"{accepted} accepted and {refused} other judgements are too few to learn from; {FEWEST_SAMPLES} are"
            f" needed, {FEWEST_POSITIVES} of either. The formula serves."
        )


def _options(threads: int, seed: int) -> Options:
    from ml import Options  # noqa: PLC0415 - as above

    return Options(
        threads=threads,
        seed=seed,
        kinds={**dict.fromkeys(_TEXTS, "categorical"), **dict.fromkeys(_NUMBERS, "numeric")},
        monotone={LOAD: -1, RECENT: -1, RATE: 1},
    )


def _frame(columns: Columns) -> Frame:
    import numpy as np  # noqa: PLC0415 - as above

    from ml import Frame  # noqa: PLC0415 - as above

    size = len(next(iter(columns.values())))
    out: dict[str, Any] = {}
    for name in _TEXTS:
        given = columns.get(name, [None] * size)
        out[name] = np.array(["" if value is None else str(value) for value in given], dtype=object)
    for name in _NUMBERS:
        given = columns.get(name, [None] * size)
        out[name] = np.array([np.nan if value is None else float(value) for value in given], dtype=np.float64)
    for name, most in ((LOAD, MOST_LOAD), (RECENT, 1)):
        out[name] = np.floor(np.clip(np.nan_to_num(out[name]), 0, most))
    sure = np.clip(out[RATE], 1 - SURE, SURE)
    out[RATE] = np.log(sure / (1 - sure))
    return Frame(out)


def _take(columns: Columns, chosen: Sequence[int]) -> dict[str, list[Any]]:
    return {name: [values[at] for at in chosen] for name, values in columns.items()}


def _record(row: Mapping[str, Any]) -> Record:
    return Record(int(row.get("accepted") or 0), int(row.get("judged") or 0))


def _rate(row: Mapping[str, Any]) -> float:
    stated = row.get("success_rate_for_role")
    return _record(row).rate if stated is None else float(stated)


def _formula(row: Mapping[str, Any]) -> float:
    role = str(row.get(ROLE) or "")
    facts = Facts(
        skills=(role,) if row.get("has_skill") else (),
        assignments_last_4w=int(row.get(LOAD) or 0),
        assigned_last_week=bool(row.get(RECENT)),
        success_rate_for_role=row.get("success_rate_for_role"),
    )
    return sum(term.value for term in formula(role, facts, _record(row), DEFAULT_WEIGHTS))


def _read_weight(header: str) -> float:
    try:
        weight = float(header.removeprefix(_HEADER)) if header.startswith(_HEADER) else 0.0
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise UnusableArtifactError("It is no scorer of assignments.")
    return weight
