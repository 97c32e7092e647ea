"""What must hold of a run after anything that happened to it."""

from __future__ import annotations

from collections import Counter

from app.runs.model import RunStatus, RunView
from tests.engine.desk import Desk
from tests.engine.trial import Trial


def hold_promises(trial: Trial, run_id: str) -> RunView:
    """Check a completed run: nothing lost, nothing completed twice, nothing bought twice.

    A step may have been *tried* twice, when its process died between what it did and its finish. What may not be: one
    attempt made by two, two completions, an effect that belongs to no attempt.
    """
    view = trial.view(run_id)
    assert view.status is RunStatus.COMPLETED, trial.tell()
    assert {step.status for step in view.steps} == {"completed"}
    completions = Counter(key for kind, key in trial.events(run_id) if kind == "step_completed")
    assert set(completions.values()) == {1}
    attempts = {step.key: step.attempts for step in view.steps}
    effects = Counter((key, what, attempt) for key, what, attempt in trial.effects(run_id))
    assert not [effect for effect, count in effects.items() if count > 1], "an attempt was made by two"
    assert not [key for key, _, attempt in effects if attempt > attempts[key]]
    for key in {key for key, _, _ in effects}:
        assert max(attempt for other, _, attempt in effects if other == key) == attempts[key], "the last one counts"
    _hold_money(trial, run_id)
    desk = Desk(trial.application.engine, places=None)
    desk.check(run_id)
    return view


def _hold_money(trial: Trial, run_id: str) -> None:
    calls = trial.ask(
        "select step_key, array_agg(status order by ordinal) from calls where run_id = :r group by step_key", r=run_id
    )
    for key, statuses in calls:
        assert statuses.count("answered") == 1, f"step {key} has {statuses}"
        assert statuses[-1] == "answered", f"step {key} asked again after an answer: {statuses}"
        assert set(statuses[:-1]) <= {"unknown", "failed"}
