from __future__ import annotations

import time
from itertools import pairwise

from app.runs.model import RunStatus
from tests.engine.documents import graph, inline, linear, tool
from tests.engine.saying import say
from tests.engine.trial import Trial


def test_forty_inline_steps_run_one_after_another_each_seeing_the_one_before(crew: Trial) -> None:
    first = tool("echo", "s0", at=0, output_variable_="v0")
    rest = [tool("echo", f"s{n}", at=n, before=f"{{v{n - 1}.at}}", output_variable_=f"v{n}") for n in range(1, 40)]
    started = time.monotonic()
    view = crew.run([inline(first, *rest)])
    say(f"40 inline steps: {(time.monotonic() - started) * 25:.1f} ms a step")
    assert view.status is RunStatus.COMPLETED
    assert [step.output.get("before") for step in view.steps] == [None, *range(39)]
    times = crew.times(view.run_id)
    assert len(times) == 40
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(times))
    assert all(step.attempts == 1 for step in view.steps)


def test_fifty_linear_steps_run_side_by_side(crew: Trial) -> None:
    view = crew.run([linear(*(tool("nap", f"n{n}", seconds=0.5) for n in range(50)))])
    assert view.status is RunStatus.COMPLETED
    times = crew.times(view.run_id)
    assert max(begun for begun, _ in times) < min(ended for _, ended in times)


def test_a_diamond_joins_once_and_sees_both_sides(crew: Trial) -> None:
    view = crew.run(
        [
            graph(
                tool("mark", "top", value=1, output_variable_="top"),
                tool("mark", "left", value="{top}", output_variable_="left", depends_on_=["top"]),
                tool("mark", "right", value="{top}2", output_variable_="right", depends_on_=["top"]),
                tool(
                    "mark",
                    "bottom",
                    value=["{left}", "{right}"],
                    output_variable_="both",
                    depends_on_=["left", "right"],
                ),
            )
        ]
    )
    assert view.variables["both"] == [1, "12"]
    assert sorted(key for key, _, _ in crew.effects(view.run_id)) == ["bottom", "left", "right", "top"]
