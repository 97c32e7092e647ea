"""What the studio needs from outside: three makers, a base to read and write, and the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from app.runs.model import RunRequest, RunStatus, RunView, Started
from app.studio.model import IdeaDraft, Named, PromptDraft, SettingsRecord, Structure


@dataclass(frozen=True)
class Known:
    """What a maker may build on.

    Args:
        structures: the usable ones, in order of their ids.
        scores: P(like) by structure id; a missing one counts as 0.5.
        doubts: standard deviation of that score by structure id, for exploration.
    """

    structures: tuple[Structure, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    doubts: Mapping[str, float] = field(default_factory=dict)
    designers: tuple[Named, ...] = ()
    garments: tuple[Named, ...] = ()


@dataclass(frozen=True)
class IdeaRequest:
    """Ask for ideas.

    Args:
        seed: the same seed and the same known things give the same ideas.
        taken: fingerprints of structures and recent ideas that must not come again.
    """

    count: int
    seed: str
    known: Known
    exploration_rate: float
    renderer: str = ""
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True)
class IdeaAnswer:
    """What a Strategist made; `total` is its own count, also where it does not show the ideas."""

    ideas: tuple[IdeaDraft, ...]
    total: int


@dataclass(frozen=True)
class PromptRequest:
    """Ask for the prompts of one slice of a batch.

    Args:
        count: how many, 1..10.
        offset: place of the first in the batch.
        total: size of the whole batch, so that slices side by side divide it alike.
        draw: 0 first; another number draws other words for the same places.
    """

    count: int
    offset: int
    total: int
    seed: str
    renderer: str
    known: Known
    exploration_rate: float
    draw: int = 0


@dataclass(frozen=True)
class ScoreAnswer:
    """Scores of structures by id (0..1), and the version of what made them."""

    scores: Mapping[str, float]
    model_version: str
    note: str | None = None
    preference_vector: Mapping[str, float] = field(default_factory=dict)


class Strategist(Protocol):
    """Proposes new structures."""

    name: str
    remote: bool  # asking is seen elsewhere, so it must not be repeated in doubt

    def propose_ideas(self, request: IdeaRequest) -> IdeaAnswer:
        """Propose up to `request.count` ideas.

        Raises:
            StepError: none could be had.
        """
        ...


class Generator(Protocol):
    """Writes prompts."""

    name: str
    remote: bool  # its words are its own: they are kept, not drawn again

    def warm_up(self) -> bool:
        """Wake it; whether it answers. Never raises for a service that sleeps on."""
        ...

    def make_prompts(self, request: PromptRequest) -> list[PromptDraft]:
        """Write up to `request.count` prompts.

        Raises:
            StepError: none could be had.
        """
        ...


@dataclass(frozen=True)
class TrainAnswer:
    """What an Optimizer's training came to.

    Args:
        status: `trained` or `skipped`; what failed is an error.
    """

    status: str
    reason: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


class Optimizer(Protocol):
    """Learns and scores structures somewhere else."""

    def train(self) -> TrainAnswer:
        """Train on everything it knows.

        Raises:
            StepError: it did not train.
        """
        ...

    def score_structures(self) -> ScoreAnswer:
        """Score every structure it knows.

        Raises:
            StepError: no scores could be had.
        """
        ...

    def read_insights(self) -> dict[str, Any] | None:
        """Give what it found out about prompts, by structure; None when it has nothing.

        Raises:
            StepError: it does not answer.
        """
        ...


class PreferenceTaker(Protocol):
    """A Generator that wants to know the scores."""

    def update_preferences(self, preferences: Mapping[str, Any]) -> int:
        """Hand over the scores; gives how many it took.

        Raises:
            StepError: it did not take them.
        """
        ...


@dataclass(frozen=True)
class BaseRecord:
    """A record of a base; `fields` by name, empty ones absent."""

    record_id: str
    fields: dict[str, Any]
    created_at: datetime | None = None


class StudioBase(Protocol):
    """A base that people look at: Airtable, or a stand-in. What it does not keep says so in its flags."""

    has_settings: bool
    has_structures: bool
    has_prompts: bool
    has_history: bool

    def read_settings(self) -> SettingsRecord:
        """Read the settings row; an empty one when the table has none."""
        ...

    def read_structures(self) -> list[Structure]:
        """Read every structure."""
        ...

    def read_designers(self) -> list[Named] | None:
        """Read the designers; None when the base keeps none."""
        ...

    def read_garments(self) -> list[Named] | None:
        """Read the garments; None when the base keeps none."""
        ...

    def find_prompts(self, texts: Sequence[str]) -> list[BaseRecord]:
        """Find prompt records with exactly one of these texts; `fields["New Prompt"]` is the text."""
        ...

    def create_prompts(self, lot: Sequence[Mapping[str, Any]]) -> list[BaseRecord]:
        """Create up to 10 prompt records, all or none."""
        ...

    def find_history(self, prompt_record_ids: Sequence[str]) -> list[BaseRecord]:
        """Find history records of these prompts; `fields["Prompt ID"]` is the prompt's."""
        ...

    def create_history(self, lot: Sequence[Mapping[str, Any]]) -> list[BaseRecord]:
        """Create up to 10 history records, all or none."""
        ...

    def update_scores(self, lot: Sequence[tuple[str, float]]) -> None:
        """Write up to 10 structures' scores by record id, all or none.

        Raises:
            PersistentError: code `airtable_refused` where a record is at fault.
        """
        ...


@dataclass(frozen=True)
class LearningParts:
    """Who takes part in a learning cycle beside us; None where it is not configured."""

    optimizer: Optimizer | None = None
    generator: PreferenceTaker | None = None
    base: StudioBase | None = None


class Runs(Protocol):
    """The engine, as far as batches need it."""

    def start_run(self, request: RunRequest, connection: Connection | None = None) -> Started:
        """Write a run; with a connection, in its transaction, and `publish` is the caller's to do after the commit."""
        ...

    def publish(self, started: Started) -> None:
        """Send what a committed start asked for."""
        ...

    def get_run(self, run_id: str, *, owner: str | None) -> RunView:
        """Show a run; None as the owner sees any."""
        ...

    def status_in(self, connection: Connection, run_id: str) -> RunStatus | None:
        """Look up where a run is, in the caller's transaction; None when there is none."""
        ...
