"""The scorer of categories, over `ml/`: which letter a message gets, learned from this installation's own chats.

It serves once, on messages later than all it learned from, it names letters better than plain rules, no worse than the
scorer that serves, and is right as often as it claims wherever it is sure enough that nobody else is asked.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from app.chat.model import Category
from app.chat.routing import TRUSTED_CONFIDENCE
from app.chat.rules import PlainCategoriser
from app.learning.artifact_text import as_text, load_text
from app.learning.model import Trained, TrainingRows
from app.learning.ports import ScoredRows, TooFewSamplesError, UnusableArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from app.chat.lessons import PgChatLessons
    from app.learning.model import Columns
    from app.learning.ports import Scorer
    from ml.category import Category as Fitted
    from ml.category import Guess

CATEGORY = "category"
FEATURE_SET = "categories-1"
FEWEST_ROWS = 200
NEW_ROWS = 200
MESSAGE, LETTER = "message", "letter"
READ_CHARACTERS = 4000
"""Of a message: its beginning and its end say what is wanted, and reading them takes no longer than a blink."""

LATER_SHARE = 0.2
FEWEST_SURE = 20
SLACK = 0.02
"""By how much a share measured on few messages may fall short of what it is compared with."""


class CategoryModel:
    """A fitted scorer of `ml/` behind our port.

    Args:
        fitted: names letters, with calibrated probabilities.
        rows: messages it learned from.
    """

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted
        self.rows = int(fitted.card.rows)

    def guess(self, message: str) -> Guess:
        """Name a message's letter, and say how sure that is."""
        return self.fitted.guess(read_part(message), sure=TRUSTED_CONFIDENCE)

    def score(self, columns: Columns) -> ScoredRows:
        """Give the probability of each row's likeliest letter."""
        texts = [read_part(message) for message in columns[MESSAGE]]
        scores = self.fitted.probabilities(texts).max(axis=1).tolist() if texts else []
        return ScoredRows(scores, [0.0] * len(scores))

    def explain(self, row: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Say what speaks for the likeliest letter, in log odds; see the port."""
        found = self.fitted.explain(read_part(str(row[MESSAGE])))
        return [("assumed before anything is known", found.base), *found.parts]


class CategoryLessons:
    """Letters of this installation's chats, as rows; implements `Lessons`.

    Args:
        turns: reads them.
    """

    def __init__(self, turns: PgChatLessons) -> None:
        self._turns = turns
        self.engine = turns.engine

    def count(self, connection: sa.Connection, since: datetime | None) -> tuple[int, datetime | None]:
        """Count the letters after a moment."""
        return self._turns.count_letters(connection, since)

    def read(self, connection: sa.Connection) -> TrainingRows:
        """Read the letters as rows; each is what people want."""
        found = self._turns.read_letters(connection)
        columns = {MESSAGE: [one.message for one in found], LETTER: [one.category for one in found]}
        return TrainingRows(columns, [1] * len(found), [1.0] * len(found), [one.at_s for one in found])


class CategoryLearner:
    """Trains and reads scorers of categories.

    Args:
        threads: of the training.
    """

    scorer = CATEGORY
    feature_set = FEATURE_SET

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        """Train on all messages; whether it may serve is measured on the latest, with a fit that has not seen them."""
        texts = [read_part(message) for message in data.columns[MESSAGE]]
        letters = [str(letter) for letter in data.columns[LETTER]]
        check_enough(letters)
        cut = len(texts) - max(1, round(LATER_SHARE * len(texts)))
        early = self._fit(texts[:cut], letters[:cut], seed)
        before = running if isinstance(running, CategoryModel) else None
        metrics, promotes, reason = _weigh(CategoryModel(early), before, texts[cut:], letters[cut:])
        fitted = self._fit(texts, letters, seed)
        if fitted.layers is None:
            promotes, reason = False, fitted.card.verdict.reason
        metrics = {**fitted.card.metrics, **metrics, "samples": len(texts)}
        return Trained(as_text(fitted), fitted.card.to_json(), metrics, promotes, reason)

    def _fit(self, texts: Sequence[str], letters: Sequence[str], seed: int) -> Fitted:
        from ml.category import Category as Learning  # noqa: PLC0415 - only who trains loads the mathematics

        return Learning.fit(texts, letters, threads=self._threads, seed=seed)

    def load(self, artifact: str) -> CategoryModel:
        """Read a saved scorer; see the port."""
        from ml.category import Category as Learning  # noqa: PLC0415 - as above

        loaded = load_text(Learning.load, artifact)
        if not set(loaded.names) <= set(Category.__members__):
            raise UnusableArtifactError("It is no scorer of categories.")
        return CategoryModel(loaded)


def check_enough(letters: Sequence[str]) -> None:
    """Refuse to learn from next to nothing.

    Raises:
        TooFewSamplesError: says what is there and what is needed.
    """
    counts = Counter(letters)
    missing = [letter for letter in Category.__members__ if not counts[letter]]
    if len(letters) < FEWEST_ROWS or missing:
        never = f", none of them {' or '.join(missing)}" if missing else ""
        raise TooFewSamplesError(
            f"{len(letters)} sorted messages{never} are too few to learn from; {FEWEST_ROWS} are needed, and every"
            " letter. Plain rules serve."
        )


def read_part(message: str) -> str:
    """Cut a message to what is read of it."""
    if len(message) <= READ_CHARACTERS:
        return message
    half = READ_CHARACTERS // 2
    return f"{message[:half]}\n{message[-half:]}"


def _weigh(
    candidate: CategoryModel, running: CategoryModel | None, texts: Sequence[str], letters: Sequence[str]
) -> tuple[dict[str, Any], bool, str]:
    """Measure on messages that neither has learned from (the running one may have), and decide."""
    guesses = [candidate.guess(text) for text in texts]
    right = [guess.label == letter for guess, letter in zip(guesses, letters, strict=True)]
    plain = PlainCategoriser()
    by_rules = _share(
        [str(plain.judge(text, 0).category) == letter for text, letter in zip(texts, letters, strict=True)]
    )
    most = _share([letter == Counter(letters).most_common(1)[0][0] for letter in letters])
    sure = [hit for hit, guess in zip(right, guesses, strict=True) if guess.sure]
    accuracy, sure_right = _share(right), _share(sure)
    metrics: dict[str, Any] = {
        "later_rows": len(texts),
        "later_accuracy": accuracy,
        "later_accuracy_of_rules": by_rules,
        "later_accuracy_of_commonest": most,
        "later_sure": len(sure),
        "later_sure_right": sure_right,
    }
    if accuracy < max(by_rules, most):
        what = f"right in {accuracy:.0%} of {len(texts)} later messages, plain rules or the commonest letter in"
        return metrics, False, f"{what} {max(by_rules, most):.0%}"
    if len(sure) >= FEWEST_SURE and sure_right < TRUSTED_CONFIDENCE - SLACK:
        return metrics, False, f"right in only {sure_right:.0%} of {len(sure)} later messages it was sure of"
    if running is not None:
        metrics["running_accuracy"] = _share(
            [running.guess(text).label == letter for text, letter in zip(texts, letters, strict=True)]
        )
        if accuracy < metrics["running_accuracy"] - SLACK:
            return metrics, False, f"right in {accuracy:.0%}, the serving one in {metrics['running_accuracy']:.0%}"
    return metrics, True, f"right in {accuracy:.0%} of {len(texts)} later messages, plain rules in {by_rules:.0%}"


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0
