"""An extension for trials: an agent whose instructions are long and stay the same, as a brand's canon does."""

from __future__ import annotations

from typing import Any

from app.gateway.model import ModelCall
from app.runs.ports import Handler, HandlerCatalog, ModelContext

CANON = "\n".join(f"Rule {n}: say it plainly, in few words, and never twice (see rule {n + 1})." for n in range(250))
USER = "\n".join(f"Fact {n} about the user: likes the colour number {n} best on day {n}." for n in range(100))


async def write(context: ModelContext, given: dict[str, Any]) -> str:
    """Write by the canon. Repeat-safe: the answer to the same part is found in the ledger."""
    call = ModelCall("thinking_ai", str(given["brief"]), system=(CANON, USER), config={"max_tokens": 200})
    return (await context.ask(call)).text


def register(catalog: HandlerCatalog) -> None:
    """Add the agent."""
    catalog.agent(Handler("canon_writer", write))
