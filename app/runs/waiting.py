"""Use the database from a step on the loop: in a thread, and again later where it is away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolEmptyError

from app.errors import StepParked

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
AWAY_S = 2.0
"""Until a step that found the database away looks again; a restart takes about as long, and counts no try."""


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call something that blocks.

    Raises:
        StepParked: the database is away, or every connection of the process is taken; what was paid for by then is
            in the ledger, and the step goes on from there.
    """
    try:
        return await asyncio.to_thread(call, *args, **kwargs)
    except (OperationalError, InterfaceError, PoolEmptyError) as error:
        raise StepParked("database", delay_s=AWAY_S) from error
