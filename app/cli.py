"""Door 3: the command line. It reads arguments; `app/commands/` does the work.

A new command is a function here, of a few lines, and a module there.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app import __version__
from app.errors import BatutaError, SettingsError
from app.settings import Settings, document_settings

if TYPE_CHECKING:
    from rich.console import Console

    from app.commands.client import SystemClient

SETTINGS_PAGE = Path("docs") / "settings.md"
PIPE_WIDTH = 160
HELP_WIDTH = 118
FAILED = 1
UNUSABLE_SETTINGS = 2


class Failing(click.Group):
    """A group whose commands end with a sentence and a code instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(str(error), err=True)
            ctx.exit(UNUSABLE_SETTINGS)
        except BatutaError as error:
            click.echo(str(error), err=True)
            for field, messages in getattr(error, "errors", {}).items():
                click.echo(f"  {field}: {' '.join(messages)}", err=True)
            ctx.exit(FAILED)


def remote(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which running system it is about."""

    @click.option("--url", envvar="BATUTA_URL", help="Address of the system; HOST and PORT say it otherwise.")
    @click.option("--token", envvar="BATUTA_TOKEN", help="Bearer token; not needed in open loopback mode.")
    @functools.wraps(command)
    def with_client(*, url: str | None, token: str | None, **options: Any) -> None:
        from app.commands.client import SystemClient, address_of

        if url is not None and not url.startswith(("http://", "https://")):
            raise SettingsError([f"--url={url}: must be an http or https address"])
        command(client=SystemClient(url or address_of(_settings()), token), **options)

    return with_client


@click.group(cls=Failing, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH})
def main() -> None:
    """Batuta: runs workflows of AI agents, and learns from what people like."""


@main.command()
@click.option(
    "--first-batch/--no-first-batch", default=False, help="Make and show a daily batch if there was none yet."
)
def up(*, first_batch: bool) -> None:
    """Run the whole system in this terminal until Ctrl-C."""
    from app.commands.up import run_system

    run_system(_settings(), os.environ, first_batch=first_batch)


@main.command(short_help="Become one process of the system, as in the Procfile.")
@click.argument("name")
def start(name: str) -> None:
    """Become one process of the system, as the Procfile names it: web, worker-io, worker-learning, beat, flower."""
    from app.commands.up import become_program

    become_program(_settings(), os.environ, name)


@main.command(short_help="Exit with 0 when the running system is well, else with 1.")
@click.option("--check", help="Look at this one of the checks only: database, broker, workers or beat.")
@remote
def healthy(client: SystemClient, check: str | None) -> None:
    """Exit with 0 when the running system is well, else with 1; for health checks of containers."""
    health = client.get("/health").body
    state = health["checks"].get(check, "unknown") if check else "ok"
    click.echo(f"{check or health['status']}: {state}")
    if state != "ok":
        sys.exit(FAILED)


@main.command(short_help="Say what is configured, what answers and what is missing.")
def doctor() -> None:
    """Say what is configured, what answers and what is missing; exit code 1 when something needed is away."""
    from app.commands.doctor import examine, print_findings

    if not print_findings(examine(_settings()), _console()):
        sys.exit(FAILED)


@main.command()
@click.option("--check", is_flag=True, help="Only compare; exit code 1 when the page is not up to date.")
def settings(*, check: bool) -> None:
    """Write docs/settings.md from the settings the program knows."""
    page = document_settings()
    if check:
        if not SETTINGS_PAGE.is_file() or SETTINGS_PAGE.read_text(encoding="utf-8") != page:
            click.echo(f"{SETTINGS_PAGE} is not up to date: run `batuta settings`.", err=True)
            sys.exit(FAILED)
        return
    SETTINGS_PAGE.write_text(page, encoding="utf-8")
    click.echo(f"wrote {SETTINGS_PAGE}")


@main.command(short_help="Bring the database to the newest schema.")
def migrate() -> None:
    """Bring the database to the newest schema, and give an empty one its first structures."""
    from app.commands.storage import prepare_database, reachable_servers

    with reachable_servers(_settings()) as addressed:
        prepare_database(addressed)
    click.echo("the database has the newest schema")


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@main.command()
@click.option("--ideas", type=click.IntRange(0, 50), help="How many new structure ideas.")
@click.option("--prompts", type=click.IntRange(0, 500), help="How many prompts.")
@click.option("--renderer", help="For which renderer.")
@remote
def batch(client: SystemClient, ideas: int | None, prompts: int | None, renderer: str | None) -> None:
    """Make a daily batch now, watch it, and print what it made."""
    from app.commands.runs import start_batch

    asked = {"num_ideas": ideas, "num_prompts": prompts, "renderer": renderer}
    if not start_batch(client, {name: value for name, value in asked.items() if value is not None}, _console()):
        sys.exit(FAILED)


@main.command()
@click.option("--kind", help="Only runs of this kind, such as daily_batch.")
@click.option("--status", help="Only runs in this status, such as running.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="At most so many.")
@remote
def runs(client: SystemClient, kind: str | None, status: str | None, limit: int) -> None:
    """List runs, newest first."""
    from app.commands.runs import list_runs

    list_runs(client, {"kind": kind, "status": status, "page_size": limit}, _console())


@main.command()
@click.argument("run")
@click.option("--once", is_flag=True, help="Print how it is now, and do not follow it.")
@remote
def show(client: SystemClient, run: str, *, once: bool) -> None:
    """Follow a run to its end, then print its steps."""
    from app.commands.runs import follow_run, show_run

    console = _console()
    show_run(client.get(f"/runs/{run}").body if once else follow_run(client, run, console), console)


@main.command()
@click.argument("run")
@remote
def cancel(client: SystemClient, run: str) -> None:
    """Stop a run; what it paid for is kept."""
    from app.commands.runs import cancel_run

    cancel_run(client, run, _console())


@main.command(short_help="List the models: who serves each, at what price.")
def models() -> None:
    """List the models: who serves each here, at what price, and what retires."""
    from app.commands.models import print_models

    print_models(_settings(), _console())


@main.command(short_help="Show what routing saved, and at what loss of quality.")
@click.option("--since", default="400d", show_default=True, help="A number of days such as 30d, or a date.")
def savings(since: str) -> None:
    """Show what routing chats saved, at what loss of quality, and from how many judged answers that is known."""
    from app.commands.savings import print_savings

    print_savings(_settings(), since, _console())


@main.command("import-state", short_help="Take over the original orchestrator's state file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_state(file: Path) -> None:
    """Take over likes, dates and scores from the original orchestrator's state file."""
    from app.commands.state import import_state as take_over

    take_over(_settings(), file, _console())


@main.group(invoke_without_command=True, short_help="List what was learned, and what it would earn.")
@click.pass_context
def scorers(context: click.Context) -> None:
    """List what was learned, and estimate what it would earn; see the commands for more."""
    if context.invoked_subcommand is None:
        from app.commands.scorers import list_scorers

        list_scorers(_settings(), _console())


@scorers.command("card")
@click.argument("number", type=click.IntRange(1))
def scorers_card(number: int) -> None:
    """Print the card of a version: what it learned from, how good it was, what it looks at."""
    from app.commands.scorers import show_card

    show_card(_settings(), number, _console())


@scorers.command("rollback")
@click.option("--scorer", default="preference", show_default=True, help="Which scorer.")
def scorers_rollback(scorer: str) -> None:
    """Withdraw the serving version; the one before it serves again, and everything is scored anew."""
    from app.commands.scorers import roll_back

    roll_back(_settings(), scorer, _console())


@scorers.command("plot")
@click.option("--scorer", default="preference", show_default=True, help="Which scorer.")
@click.option("--output", default="scorers.png", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
def scorers_plot(scorer: str, output: Path) -> None:
    """Draw learning over time, importances and calibration as a PNG."""
    from app.commands.scorers import plot_versions

    plot_versions(_settings(), scorer, output, _console())


@main.group()
def token() -> None:
    """Make, list and revoke tokens."""


@token.command("create")
@click.argument("name")
@click.option("--scope", type=click.Choice(["client", "admin"]), default="client", show_default=True)
def token_create(name: str, scope: str) -> None:
    """Make a token and print it, this once."""
    from app.commands.tokens import create_token

    create_token(_settings(), name, scope, _console())


@token.command("list")
def token_list() -> None:
    """List the stored tokens."""
    from app.commands.tokens import list_tokens

    list_tokens(_settings(), _console())


@token.command("revoke")
@click.argument("token_id")
def token_revoke(token_id: str) -> None:
    """Shut a token out from the next request on."""
    from app.commands.tokens import revoke_token

    revoke_token(_settings(), token_id, _console())


def _settings() -> Settings:
    return Settings.from_env(os.environ)


def _console() -> Console:
    from rich.console import Console

    # Whoever reads a pipe or a file wants whole lines; a terminal has the width it has.
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


if __name__ == "__main__":
    main(prog_name="batuta")
