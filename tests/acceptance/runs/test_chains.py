"""Celery's chains carry messages; the journal decides what is next."""

from __future__ import annotations

from itertools import pairwise

from app.runs.model import RunStatus
from tests.engine.documents import inline, tool
from tests.engine.promises import hold_promises
from tests.engine.trial import Trial


def test_a_chain_whose_step_parks_is_dropped_and_its_rest_sent_once_as_a_new_one(crew: Trial) -> None:
    before = [tool("mark", f"a{n}") for n in range(4)]
    after = [tool("mark", f"z{n}") for n in range(4)]
    view = crew.run([inline(*before, tool("parks", "p", works_at=2, delay_s=0.1), *after)])
    hold_promises(crew, view.run_id)
    assert {step.key: step.attempts for step in view.steps if step.key != "p"} == {
        f"{name}{n}": 1 for name in "az" for n in range(4)
    }
    assert [key for key, _, _ in crew.effects(view.run_id)] == [
        *(f"a{n}" for n in range(4)),
        *(f"z{n}" for n in range(4)),
    ]


def test_a_failed_step_in_the_middle_of_a_chain_does_not_break_it(crew: Trial) -> None:
    view = crew.run([inline(tool("mark", "a"), tool("boom", "b"), tool("mark", "c"))])
    assert [step.status for step in view.steps] == ["completed", "failed", "completed"]
    assert view.status is RunStatus.PARTIAL


def test_chains_of_more_than_twenty_go_on_without_a_pause(crew: Trial) -> None:
    view = crew.run([inline(*(tool("mark", f"s{n}") for n in range(45)))])
    hold_promises(crew, view.run_id)
    times = crew.times(view.run_id)
    pauses = [(begun - ended).total_seconds() for (_, ended), (begun, _) in pairwise(times)]
    assert max(pauses) < 2, "a step of the chain was only found by recovery"


def test_skipped_steps_do_not_break_a_chain(crew: Trial) -> None:
    never = {"var": "go", "op": "==", "value": True}
    steps = [tool("mark", f"s{n}", **({"when_": never} if n % 2 else {})) for n in range(10)]
    view = crew.run([inline(*steps)], {"go": False})
    assert view.status is RunStatus.COMPLETED
    assert [step.status for step in view.steps] == ["completed", "skipped"] * 5
