"""`batuta scorers`: what was learned, what it would earn, and the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.bootstrap import Application
from app.commands.storage import composed, reachable_servers
from app.errors import ConflictError, NotFoundError
from app.learning.assignment import ASSIGNMENT
from app.learning.category import CATEGORY
from app.learning.model import Version
from app.learning.preference import PREFERENCE
from app.learning.route import ROUTE
from app.schema import upgrade_schema
from app.settings import Settings

SHOWN_METRICS = ("auc", "baseline_auc", "running_auc", "log_loss")
PLAIN_WAYS = {
    PREFERENCE: "smoothed rates serve",
    ASSIGNMENT: "the formula serves",
    CATEGORY: "plain rules serve",
    ROUTE: "the documented routes serve",
}
FEWEST_TO_ESTIMATE = 30  # showings below which an estimate says nothing


@contextlib.contextmanager
def open_application(settings: Settings) -> Iterator[Application]:
    """Lend the composed system on a migrated database; an embedded one is started if need be."""
    with reachable_servers(settings) as addressed:
        upgrade_schema(addressed.storage.database_url)
        with composed(addressed) as application:
            yield application


def list_scorers(settings: Settings, console: Console) -> None:
    """Print every version, what serves, and what drawing by it would earn."""
    with open_application(settings) as application:
        versions = application.scorers.list_versions()
        problems = application.scorers.problems()
        logged, shares = application.studio.log_of_draws()
    if not versions:
        console.print("Nothing was learned yet; smoothed like rates serve.")
    else:
        console.print(_versions_table(versions))
    for problem in problems:
        console.print(escape(problem))
    rewards = [float(one.liked) for one in logged]
    if len(rewards) < FEWEST_TO_ESTIMATE:
        console.print(f"{len(rewards)} judged prompts with a known probability are too few to estimate a policy.")
        return
    propensities = [one.propensity for one in logged]
    wanted = [shares.get(one.structure_id, 0.0) for one in logged]
    console.print(_estimates_table(rewards, propensities, wanted))


def _versions_table(versions: list[Version]) -> Table:
    table = Table(box=None)
    for heading in ("number", "scorer", "status", "trained", *SHOWN_METRICS, "why"):
        table.add_column(heading, no_wrap=heading == "status")
    for version in versions:
        at = version.created_at.isoformat(timespec="seconds") if version.created_at else ""
        metrics = [_short(version.metrics.get(name)) for name in SHOWN_METRICS]
        table.add_row(str(version.number), version.scorer, version.status, at, *metrics, escape(version.reason))
    return table


def _estimates_table(rewards: list[float], propensities: list[float], wanted: list[float]) -> Table:
    import numpy as np

    from ml import estimate_policy

    table = Table(box=None, title=f"Likes a prompt, estimated from {len(rewards)} judged prompts")
    for heading in ("policy", "likes a prompt", "standard error"):
        table.add_column(heading)
    logging, earned = np.array(propensities), np.array(rewards)
    for name, probabilities in (("as it was drawn", logging), ("as it is drawn now", np.array(wanted))):
        mean, error = estimate_policy(earned, logging, probabilities)
        table.add_row(name, f"{mean:.3f}", f"{error:.3f}")
    return table


def show_card(settings: Settings, number: int, console: Console) -> None:
    """Print a version's card.

    Raises:
        NotFoundError: there is no such version.
    """
    with open_application(settings) as application:
        version = application.scorers.find(number)
    console.print(f"{version.name}: {version.status}. {escape(version.reason)}", soft_wrap=True)
    table = Table("fact", "value", box=None)
    for name, value in {**version.card, "artifact": version.artifact, "sha256": version.digest}.items():
        table.add_row(name, escape(str(value)))
    console.print(table)


def roll_back(settings: Settings, scorer: str, console: Console) -> None:
    """Let the version before the serving one serve, and score everything with it.

    Raises:
        ConflictError: none serves.
    """
    with open_application(settings) as application:
        withdrawn, serving = application.scorers.roll_back(scorer)
        if scorer == PREFERENCE and not application.settings.studio.optimizer_url:
            application.studio.score_structures()
    plain = PLAIN_WAYS.get(scorer, "the plain way serves")
    now = plain if serving is None else f"{serving.name} serves"
    console.print(f"{withdrawn.name} is withdrawn; {now}.")


def plot_versions(settings: Settings, scorer: str, output: Path, console: Console) -> None:
    """Draw the versions of a scorer.

    Raises:
        NotFoundError: nothing was learned yet.
        ConflictError: Matplotlib is not installed.
    """
    from ml import Card, LearningError
    from ml.plot import plot_cards

    with open_application(settings) as application:
        versions = application.scorers.list_versions(scorer)
    cards = [card for card in (_read_card(version.card, Card) for version in reversed(versions)) if card is not None]
    if not cards:
        raise NotFoundError(f"Nothing of {scorer} was learned yet.", code="version_not_found")
    try:
        plot_cards(cards, output)
    except LearningError as error:
        raise ConflictError(f"{error}.", code="cannot_plot") from None
    console.print(f"wrote {escape(str(output))}")


def _read_card(raw: dict[str, Any], card: Any) -> Any:
    """Read a card; one that another program version wrote is left out."""
    try:
        return card.from_json(raw)
    except (KeyError, TypeError, ValueError):
        return None


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
