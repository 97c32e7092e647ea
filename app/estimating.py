"""Estimate a document before it runs: from this installation's own history, else from prices and plain guesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from app.runs.submission import WINDOW
from app.workflows.estimate import Estimate, estimate_workflow
from app.workflows.spreads import NOTHING, Spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

    from app.workflows.model import Block, Task, Workflow

# What a kind of step took where nothing is known yet; seconds, half of them below and nine of ten below.
GUESSES = {"model": Spread(4.0, 20.0), "agent": Spread(0.5, 5.0), "tool": Spread(0.05, 1.0), "approval": NOTHING}
HISTORY = sa.text("""
select kind, target, percentile_cont(0.5) within group (order by seconds) as s50,
    percentile_cont(0.9) within group (order by seconds) as s90,
    percentile_cont(0.5) within group (order by dollars) as d50,
    percentile_cont(0.9) within group (order by dollars) as d90
from (
    select kind, target, extract(epoch from finished_at - started_at)::float as seconds, cost_usd::float as dollars,
        row_number() over (partition by kind, target order by finished_at desc) as age
    from steps s where status = 'completed' and started_at is not null and target = any(:targets)
      and not exists (select 1 from steps i where i.run_id = s.run_id and i.parent = s.key)  -- a for_each is its items
) recent
where age <= :most
group by kind, target having count(*) >= :least
""")
LEAST_CASES = 5
MOST_CASES = 500


@dataclass(frozen=True)
class Past:
    """What steps of one kind and target took and cost before."""

    seconds: Spread
    dollars: Spread


class Estimator:
    """Estimate documents.

    Args:
        engine: the journal.
        price_of: dollars of one run of a task, from the registry's prices; nothing for what asks no model.
    """

    def __init__(self, engine: Engine, price_of: Callable[[Task], Spread]) -> None:
        self._engine = engine
        self._price_of = price_of

    def estimate(self, workflow: Workflow) -> Estimate:
        """Estimate a parsed document; nothing is called and nothing stored."""
        past = self._read_past(sorted({task.target for task in workflow.tasks() if task.kind != "approval"}))

        def price(task: Task, _block: Block) -> Spread:
            known = past.get((task.kind, task.target))
            if known and (task.kind == "model" or known.dollars.p90 > 0):
                return known.dollars
            return self._price_of(task)  # an agent that cost nothing so far may have been told to ask models since

        def history(task: Task, _block: Block) -> Spread:
            known = past.get((task.kind, task.target))
            return known.seconds if known else GUESSES[task.kind]

        return estimate_workflow(workflow, price=price, history=history, window=WINDOW)

    def _read_past(self, targets: list[str]) -> dict[tuple[str, str], Past]:
        values = {"targets": targets, "most": MOST_CASES, "least": LEAST_CASES}
        with self._engine.connect() as connection:
            return {
                (row.kind, row.target): Past(Spread(row.s50, row.s90), Spread(row.d50, row.d90))
                for row in connection.execute(HISTORY, values)
            }
