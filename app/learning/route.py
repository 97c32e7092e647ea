"""The scorer of routes, over `ml/`: how much would be lost if a cheaper model answered, learned from verdicts.

A verdict tells how one model did on one message; what the others would have said nobody knows. So a loss is a
difference of two estimates with an upper bound, and only the bound decides.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from app.chat.routing import LADDER
from app.learning.artifact_text import as_text, load_text
from app.learning.category import MESSAGE, read_part
from app.learning.model import Trained, TrainingRows
from app.learning.ports import ScoredRows, TooFewSamplesError, UnusableArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import sqlalchemy as sa

    from app.chat.lessons import PgChatLessons
    from app.learning.model import Columns
    from app.learning.ports import Scorer
    from ml.route import Choice, Loss

ROUTE = "route"
FEATURE_SET = "routes-2"  # raised when what a fitted route consists of changes: one of another kind is not read
FEWEST_JUDGED = 300
NEW_VERDICTS = 50
FEWEST_OF_EACH = 30
"""Judged answers of either model, in the category, below which nothing is moved whatever is expected."""

CATEGORY = "category"
_HEADER = "batuta-route 1 judged="
MODEL = "model"
DOLLARS = "dollars"


@dataclass(frozen=True)
class Candidate:
    """A model that may answer, and about what that costs."""

    model: str
    price_usd: Decimal


@dataclass(frozen=True)
class Found:
    """Which model shall answer, and on what evidence."""

    model: str
    evidence: str


class Fitted(Protocol):
    """What `ml/` knows of losses."""

    def expected_loss(self, prompt: str, weaker: str, stronger: str) -> Iterable[float]:
        """Expect what share of good answers the weaker model loses, and the most it loses; unpacks into both."""
        ...

    def choose(
        self, prompt: str, candidates: Sequence[tuple[str, float]], max_loss: float, *, per: Literal["traffic"]
    ) -> Choice:
        """Choose the cheapest candidate that keeps the loss over all requests within bounds."""
        ...


class RouteModel:
    """A fitted scorer of `ml/` behind our port.

    Args:
        fitted: expects losses, with an upper bound.
        judged: verdicts it learned from, by category and model, such as `L medium_ai`.
    """

    def __init__(self, fitted: Fitted, judged: Mapping[str, int]) -> None:
        self.fitted = fitted
        self.judged = dict(judged)

    def choose(self, message: str, category: str, candidates: Sequence[Candidate], max_loss: float) -> Found | None:
        """Choose the cheapest model that is expected to lose no more than that against the last, for sure.

        Where few answers to messages of the category were judged, nobody knows: messages of another category are other
        messages, whatever their words.

        Args:
            message: what is asked.
            category: its letter.
            candidates: cheapest first, the documented one last.
            max_loss: most that moving such requests may lose over all of them, its upper bound included, as a share of
                good answers; a message unlike those that were judged must keep within it by itself.
        """
        *cheaper, documented = candidates
        text = read_part(message)
        strong = self.judged.get(case_of(category, documented.model), 0)
        for candidate in cheaper:
            weak = self.judged.get(case_of(category, candidate.model), 0)
            if min(strong, weak) < FEWEST_OF_EACH:
                continue
            prices = [(one.model, float(one.price_usd)) for one in (candidate, documented)]
            choice = self.fitted.choose(text, prices, max_loss, per="traffic")
            if choice.model == candidate.model and choice.loss is not None:
                cases = f"{weak} judged answers of it and {strong} of {documented.model} in category {category}"
                return Found(candidate.model, f"{_tell(choice.loss)}, by {cases}")
        return None

    def score(self, columns: Columns) -> ScoredRows:
        """Give, a row, the expected share of good answers that its model loses against the strongest."""
        found: list[tuple[float, ...]] = [
            tuple(self.fitted.expected_loss(read_part(message), model, LADDER[-1]))
            if model != LADDER[-1]
            else (0.0, 0.0)
            for message, model in zip(columns[MESSAGE], columns[MODEL], strict=True)
        ]
        return ScoredRows([mean for mean, _ in found], [max(0.0, upper - mean) for mean, upper in found])

    def explain(self, row: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Give the loss as it is expected and what is added for being unsure; see the port."""
        found = self.score({name: [value] for name, value in row.items()})
        return [("expected loss", found.scores[0])]


def _tell(loss: Loss) -> str:
    mean, upper = loss
    told = f"expected to lose {mean:+.1%} of good answers here, at most {upper:+.1%}"
    if loss.saving == 1:  # nothing is known of dollars
        return told
    return f"{told}, and to save {loss.saving:.1f} times what moving an average message saves"


class RouteLessons:
    """Verdicts on this installation's chats, as rows; implements `Lessons`.

    Args:
        turns: reads them.
    """

    def __init__(self, turns: PgChatLessons) -> None:
        self._turns = turns
        self.engine = turns.engine

    def count(self, connection: sa.Connection, since: datetime | None) -> tuple[int, datetime | None]:
        """Count the verdicts after a moment."""
        return self._turns.count_verdicts(connection, since)

    def read(self, connection: sa.Connection) -> TrainingRows:
        """Read the verdicts as rows; good ones are what people want."""
        found = self._turns.read_verdicts(connection)
        columns: dict[str, list[Any]] = {
            MESSAGE: [one.message for one in found],
            CATEGORY: [one.category for one in found],
            MODEL: [one.model for one in found],
            DOLLARS: [one.usd for one in found],
        }
        labels = [int(one.good) for one in found]
        return TrainingRows(columns, labels, [1.0] * len(found), [one.at_s for one in found])


def case_of(category: str, model: str) -> str:
    """Name what verdicts are counted by."""
    return f"{category} {model}"


def count_judged(data: TrainingRows) -> dict[str, int]:
    """Count verdicts by category and model, and refuse too few.

    Raises:
        TooFewSamplesError: says what is there and what is needed.
    """
    models = Counter(map(str, data.columns[MODEL]))
    if models.total() < FEWEST_JUDGED or len(models) == 1:
        of = ", ".join(f"{number} of {model}" for model, number in sorted(models.items())) or "none"
        raise TooFewSamplesError(
            f"{models.total()} judged answers ({of}) are too few to move anything; {FEWEST_JUDGED} are needed, of more"
            " than one model. Categories alone decide."
        )
    pairs = zip(data.columns[CATEGORY], data.columns[MODEL], strict=True)
    return dict(Counter(case_of(category, model) for category, model in pairs))


def _dollars(data: TrainingRows) -> list[dict[str, float]]:
    """Give what each answer cost, by its model; nothing where nobody knows."""
    paid = data.columns.get(DOLLARS, [None] * len(data.labels))
    return [{} if usd is None else {str(model): usd} for model, usd in zip(data.columns[MODEL], paid, strict=True)]


def write_header(judged: Mapping[str, int]) -> str:
    """Write what stands before the scorer's own text in an artifact."""
    return _HEADER + json.dumps(judged, sort_keys=True)


def read_header(header: str) -> dict[str, int]:
    """Read what `write_header` wrote.

    Raises:
        UnusableArtifactError: it is none.
    """
    try:
        found = json.loads(header.removeprefix(_HEADER)) if header.startswith(_HEADER) else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(number, int) for number in found.values()):
        raise UnusableArtifactError("It is no scorer of routes.")
    return found


class RouteLearner:
    """Trains and reads scorers of routes.

    Args:
        threads: of the training.
    """

    scorer = ROUTE
    feature_set = FEATURE_SET

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        """Train on all verdicts; it serves where it is not worse than one loss for all messages, see the port."""
        from ml.route import RouteScorer  # noqa: PLC0415 - only who trains loads the mathematics

        del running  # it learned from a part of the same verdicts; each is bounded by what was seen
        judged = count_judged(data)
        outcomes = [{str(model): float(good)} for model, good in zip(data.columns[MODEL], data.labels, strict=True)]
        texts = [read_part(message) for message in data.columns[MESSAGE]]
        fitted = RouteScorer.fit(
            texts, outcomes, models=LADDER, dollars=_dollars(data), threads=self._threads, seed=seed
        )
        verdict = fitted.card.verdict
        compared = fitted.card.method == "boosted"
        promotes = compared and verdict.interval[0] <= 0
        text = write_header(judged) + "\n" + as_text(fitted)
        return Trained(text, fitted.card.to_json(), dict(fitted.card.metrics), promotes, verdict.reason)

    def load(self, artifact: str) -> RouteModel:
        """Read a saved scorer; see the port."""
        from ml.route import RouteScorer  # noqa: PLC0415 - as above

        header, _, text = artifact.partition("\n")
        judged = read_header(header)
        return RouteModel(load_text(RouteScorer.load, text), judged)
