"""Train, promote, serve, roll back: one life for every scorer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from app.errors import ConflictError, NotFoundError
from app.learning.artifacts import ArtifactFolder
from app.learning.giving_way import give_way
from app.learning.library import library_problem
from app.learning.model import Trained, TrainingRows, Version
from app.learning.ports import Learner, LibraryMissingError, Scorer, UnusableArtifactError
from app.learning.store import PgVersions

logger = logging.getLogger(__name__)
MOST_LOADED = 4  # scorers a process keeps beside the one it was asked for


@dataclass(frozen=True)
class Serving:
    """What serves now.

    Args:
        version: the version asked; None when the plain way serves.
        scorer: loaded; None when the plain way serves.
        problems: why a newer version does not, for `/health`.
    """

    version: Version | None = None
    scorer: Scorer | None = None
    problems: tuple[str, ...] = ()


class ScorerRegistry:
    """Keep the versions of every scorer.

    Args:
        versions: the database.
        artifacts: the files.
        learners: who trains and reads which scorer.
        library: says why their library cannot be loaded; None when it can.
    """

    def __init__(
        self,
        versions: PgVersions,
        artifacts: ArtifactFolder,
        learners: Iterable[Learner],
        library: Callable[[], str | None] = library_problem,
    ) -> None:
        self._versions = versions
        self._artifacts = artifacts
        self._learners = {learner.scorer: learner for learner in learners}
        self._loaded: dict[int, tuple[tuple[int, int] | None, Scorer]] = {}
        self._checked: dict[int, tuple[tuple[int, int] | None, str | None]] = {}
        self._lock = threading.Lock()
        self._library = library

    def knows(self, scorer: str) -> bool:
        """Whether this installation can train and read a scorer."""
        return scorer in self._learners

    def train(
        self,
        scorer: str,
        data: TrainingRows,
        run_id: str,
        may_record: Callable[[Connection], bool] = lambda _: True,
    ) -> Version | None:
        """Train a version and let it serve when it is not worse; a run trains once, however often it asks.

        Args:
            scorer: which.
            data: what it learns from.
            run_id: the run it is trained in.
            may_record: asked in the transaction that records the version; no leaves nothing behind but a file.

        Returns:
            The version, `serving` or `kept`; None when `may_record` said no.

        Raises:
            TooFewSamplesError: rows or likes do not suffice.
            LibraryMissingError: nothing can be trained on this host.
        """
        before = self._versions.trained_by(scorer, run_id)
        if before is not None:
            return before
        learner = self._learners[scorer]
        try:
            trained = give_way(lambda: learner.train(data, self.serving(scorer).scorer))
        except (ImportError, OSError):
            self._refuse_missing_library()
            raise
        name = f"{scorer}/{run_id}.txt"
        digest = self._artifacts.write(name, trained.artifact)
        with self._versions.engine.begin() as connection:
            if not may_record(connection):
                return None
            return self._record(connection, _draft(learner, trained, name, digest, run_id))

    def _refuse_missing_library(self) -> None:
        problem = self._library()
        if problem is not None:
            raise LibraryMissingError(f"Nothing can be learned here. {problem}.") from None

    def _record(self, connection: Connection, draft: Version) -> Version:
        self._versions.lock(connection, draft.scorer)
        before = self._versions.trained_by(draft.scorer, str(draft.run_id), connection)
        if before is not None:
            return before
        if draft.status == "serving":
            served = self._versions.serving(draft.scorer, connection)
            if served is not None:
                self._versions.set_status(connection, served.number, "retired")
        return self._versions.add(connection, draft)

    def trained_by(self, scorer: str, run_id: str) -> Version | None:
        """Give the version a run has trained."""
        return self._versions.trained_by(scorer, run_id)

    def serving(self, scorer: str) -> Serving:
        """Give the scorer to ask: the serving version, else the last one before it that can be read, else none.

        Nothing here raises for a broken artifact: what is wrong is in `problems`.
        """
        problems: list[str] = []
        for version in self._candidates(scorer):
            try:
                return Serving(version, self._load(version), tuple(problems))
            except (UnusableArtifactError, LibraryMissingError) as error:
                problems.append(f"{version.name} does not serve: {error}")
        for problem in problems:
            logger.warning("%s", problem)
        return Serving(problems=tuple(problems))

    def _candidates(self, scorer: str) -> list[Version]:
        current = self._versions.serving(scorer)
        return [] if current is None else [current, *self._versions.retired(scorer)]

    def _load(self, version: Version) -> Scorer:
        learner = self._learners.get(version.scorer)
        if learner is None or version.feature_set != learner.feature_set:
            raise UnusableArtifactError(f"it reads the features {version.feature_set}, which are not this program's.")
        stamp = self._artifacts.stamp(version.artifact)
        with self._lock:
            known = self._loaded.get(version.number)
            if known is not None and known[0] == stamp is not None:
                return known[1]
            # A file that changed is read anew, so that every process serves the same.
            artifact = self._artifacts.read(version.artifact, version.digest)
            try:
                scorer = learner.load(artifact)
            except (ImportError, OSError):
                self._refuse_missing_library()
                raise
            others = {number: one for number, one in self._loaded.items() if number != version.number}
            self._loaded = dict(list(others.items())[-MOST_LOADED:]) | {version.number: (stamp, scorer)}
            return scorer

    def problems(self) -> list[str]:
        """Say why learning or what was learned does not serve, cheaply: files are read anew only when they changed."""
        library = self._library()
        found = [] if library is None else [f"Nothing is learned, and smoothed rates serve. {library}."]
        for name in self._learners:
            version = self._versions.serving(name)
            problem = None if version is None else self._check(version)
            if problem is not None:
                found.append(problem)
        return found

    def _check(self, version: Version) -> str | None:
        learner = self._learners[version.scorer]
        if version.feature_set != learner.feature_set:
            return f"{version.name} reads other features than this program gives; the one before it serves."
        stamp = self._artifacts.stamp(version.artifact)
        known = self._checked.get(version.number)
        if known is None or known[0] != stamp:
            try:
                self._artifacts.read(version.artifact, version.digest)
                problem = None
            except UnusableArtifactError as error:
                problem = f"{version.name} does not serve: {error}"
            known = self._checked[version.number] = (stamp, problem)
        return known[1]

    def roll_back(self, scorer: str) -> tuple[Version, Version | None]:
        """Withdraw the serving version; the one that served before it serves again.

        Returns:
            The withdrawn version, and the one that serves now; None when the plain way does.

        Raises:
            ConflictError: none serves.
        """
        with self._versions.engine.begin() as connection:
            self._versions.lock(connection, scorer)
            served = self._versions.serving(scorer, connection)
            if served is None:
                raise ConflictError(f"No version of {scorer} serves.", code="nothing_serves")
            self._versions.set_status(connection, served.number, "withdrawn")
            before = next(iter(self._versions.retired(scorer, connection)), None)
            if before is not None:
                self._versions.set_status(connection, before.number, "serving")
            return served, self._versions.serving(scorer, connection)

    def list_versions(self, scorer: str | None = None) -> list[Version]:
        """List versions, newest first."""
        return self._versions.list_versions(scorer)

    def find(self, number: int) -> Version:
        """Give a version by its number.

        Raises:
            NotFoundError: there is none.
        """
        version = self._versions.find(number)
        if version is None:
            raise NotFoundError(f"There is no version {number}.", code="version_not_found")
        return version


def _draft(learner: Learner, trained: Trained, artifact: str, digest: str, run_id: str) -> Version:
    return Version(
        number=0,
        scorer=learner.scorer,
        status="serving" if trained.promotes else "kept",
        artifact=artifact,
        digest=digest,
        feature_set=learner.feature_set,
        card=trained.card,
        metrics=trained.metrics,
        reason=trained.reason,
        run_id=run_id,
    )
