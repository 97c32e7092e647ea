"""`batuta savings`: what routing saved, and what it cost in quality, from how many judged answers."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from rich.table import Table

from app.chat.savings import FEWEST_JUDGED, measure_loss
from app.commands.scorers import open_application
from app.errors import InvalidError

if TYPE_CHECKING:
    from rich.console import Console

    from app.chat.savings import Savings, Share
    from app.settings import Settings

ALL_DAYS = 400
"""As long as receipts are kept."""

_DAYS = re.compile(r"([0-9]{1,5})d")


def print_savings(settings: Settings, since: str, console: Console) -> None:
    """Print what routing saved.

    Raises:
        InvalidError: `since` is neither a date nor a number of days.
    """
    begins = read_since(since, dt.datetime.now(dt.UTC))
    with open_application(settings) as application:
        savings = application.chat_lessons.savings(begins)
    console.print(_table(savings))
    for line in tell_losses(savings):
        console.print(line, soft_wrap=True)


def read_since(text: str, now: dt.datetime) -> dt.datetime:
    """Read `30d`, or a date or time of ISO 8601 (UTC where it does not say).

    Raises:
        InvalidError: it is neither.
    """
    days = _DAYS.fullmatch(text.strip())
    try:
        if days:
            return now - dt.timedelta(days=int(days[1]))
        found = dt.datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise InvalidError("--since takes a number of days, such as 30d, or a date, such as 2026-11-01.") from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def tell_losses(savings: Savings) -> list[str]:
    """Say in words what was lost, or that nobody can tell yet."""
    told = [_tell("Answered by a cheaper model than the strong one", *savings.cheaper)]
    if savings.moved:
        told.append(_tell("Of these, moved down by the learned scorer", *savings.scored))
    return told


def _tell(what: str, routed: Share, strong: Share) -> str:
    cases = f"{routed.judged} judged, and {strong.judged} judged of the same kind that went to the strong model"
    loss = measure_loss(routed, strong)
    if loss is None:
        return f"{what}: {cases}. Too few to tell what it costs in quality; {FEWEST_JUDGED} of either are needed."
    spread = f"95 %: {loss.low:+.1%} to {loss.high:+.1%}"
    rates = f"{routed.rate:.1%} good against {strong.rate:.1%}"
    return f"{what}: {rates}, a loss of {loss.mean:+.1%} ({spread}), from {cases}."


def _table(savings: Savings) -> Table:
    table = Table(box=None, show_header=False, title=f"Chats of one model since {savings.since:%Y-%m-%d %H:%M} UTC")
    table.add_column()
    table.add_column(justify="right")
    always = savings.always_thinking_usd
    table.add_row("chats answered", str(savings.requests))
    table.add_row("moved down by the learned scorer", f"{savings.moved} ({savings.moved_share:.1%})")
    table.add_row("sent to the strong model all the same", str(savings.held_out))
    table.add_row("spent", f"${savings.spent_usd:.6f}")
    table.add_row("by the strong model alone", f"${always:.6f}")
    share = f" ({savings.saved_usd / always:.1%})" if always else ""
    table.add_row("saved", f"${savings.saved_usd:.6f}{share}")
    return table
