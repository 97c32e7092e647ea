"""What came of a batch, from what its steps did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.runs.ports import StepContext, StepSummary
from app.studio.model import BATCH_DISABLED, RETRAIN_IN_PROGRESS, cut_slices, join_sentences, write_summary
from app.studio.store import StudioStore
from app.studio.store.batches import Tally

_REFUSED = {
    RETRAIN_IN_PROGRESS: "Retrain in progress. Try again later.",
    BATCH_DISABLED: "Batches are switched off in the settings record.",
}
_PARTS = {
    "structures": "Structures",
    "learning": "Learning",
    "scores": "Scores",
    "ideas": "Ideas",
    "warm_up": "Warm-up",
    "written": "Writing",
}


class BatchReporter:
    """Writes a batch's outcome.

    Args:
        threshold: likes that make a learning cycle due.
        writes: prompts go into a base, so that stored ones are not yet written ones.
    """

    def __init__(self, store: StudioStore, threshold: int, *, writes: bool) -> None:
        self._store = store
        self._threshold = threshold
        self._writes = writes

    def report(self, ctx: StepContext, kind: str) -> dict[str, Any]:
        """Compose the outcome of a run, store it with the batch, and count the batch when it succeeded."""
        steps = {step.key: step for step in ctx.earlier_steps()}
        outcome = self._compose(ctx.run_id, steps)
        self._store.batches.finish(ctx.run_id, outcome, _tally(kind, outcome) if outcome["success"] else None)
        left_out = {"manual": {"ideas_generated", "summary"}, "daily": {"renderer"}}[kind]
        return {name: value for name, value in outcome.items() if name not in left_out}

    def _compose(self, run_id: str, steps: dict[str, StepSummary]) -> dict[str, Any]:
        settings = _output(steps.get("settings"))
        prompts = self._store.prompts.made_in(run_id)
        written = sum(row["record_id"] is not None for row in prompts) if self._writes else len(prompts)
        learning = _output(steps.get("learning"))
        ideas = int(_output(steps.get("ideas")).get("count") or 0)
        wants_ideas, wants_prompts = settings.get("num_ideas", 0) > 0, settings.get("num_prompts", 0) > 0
        refusal = settings.get("refusal")
        anything = not (wants_ideas or wants_prompts) or ideas + len(prompts) > 0
        summary = write_summary(
            learning.get("result"), ideas if wants_ideas else None, len(prompts) if wants_prompts else None
        )
        return {
            "success": "settings" in steps and bool(settings) and refusal is None and anything,
            "retrain_triggered": learning.get("tried") is True,
            "ideas_generated": ideas,
            "prompts_generated": len(prompts),
            "prompts_written": written,
            "renderer": settings.get("renderer", ""),
            "summary": _REFUSED.get(refusal, "") if refusal else summary,
            "error": refusal or join_sentences(self._problems(steps, prompts, settings)),
            "degraded": list(dict.fromkeys(_notes(steps.values(), settings, len(prompts)))),
        }

    def _problems(
        self, steps: dict[str, StepSummary], prompts: list[dict[str, Any]], settings: dict[str, Any]
    ) -> list[str]:
        """List what went wrong, in the order of the steps."""
        failed_settings = steps.get("settings")
        found = [_explain("Settings", failed_settings)] if failed_settings and failed_settings.error else []
        found += [str(step.output["problem"]) for step in steps.values() if _output(step).get("problem")]
        for key, title in _PARTS.items():
            step = steps.get(key)
            if step is not None and step.error is not None and key != "written":
                found.append(_explain(title, step))
        found += self._missing_prompts(steps, settings)
        writing = steps.get("written")
        if writing is not None and writing.error is not None:
            found.append(self._explain_writing(writing, prompts))
        return found

    @staticmethod
    def _missing_prompts(steps: dict[str, StepSummary], settings: dict[str, Any]) -> list[str]:
        """Say how many prompts failed slices cost, and why."""
        slices = settings.get("slices") or cut_slices(0)
        failed = [(part["count"], steps.get(f"prompts.{at}")) for at, part in enumerate(slices)]
        lost = [(count, step) for count, step in failed if step is not None and step.error is not None]
        if lost:
            reasons = dict.fromkeys(_message(step) for _, step in lost)
            total = settings.get("num_prompts", 0)
            return [f"{sum(count for count, _ in lost)} of {total} prompts are missing: {' '.join(reasons)}"]
        whole = steps.get("prompts")
        return [_explain("Prompts", whole)] if whole is not None and whole.error is not None else []

    def _explain_writing(self, step: StepSummary, prompts: list[dict[str, Any]]) -> str:
        missing = sum(row["record_id"] is None for row in prompts)
        if missing:
            return f"{missing} of {len(prompts)} prompts were not written to Airtable: {_message(step)}"
        history = sum(row["history_record_id"] is None for row in prompts)
        return f"The history of {history} of {len(prompts)} prompts was not written to Airtable: {_message(step)}"


def _tally(kind: str, outcome: dict[str, Any]) -> Tally:
    if kind == "manual":
        return Tally(
            "generation", {"prompts": outcome["prompts_generated"], "renderer": outcome["renderer"], "manual": True}
        )
    shown = {
        "ideas": outcome["ideas_generated"],
        "prompts": outcome["prompts_generated"],
        "retrain_triggered": outcome["retrain_triggered"],
    }
    return Tally("batch", shown)


def _notes(steps: Iterable[StepSummary], settings: dict[str, Any], made: int) -> list[str]:
    steps = list(steps)
    notes = [str(note) for step in steps for note in _output(step).get("degraded") or ()]
    lost = any(step.error for step in steps if step.key.startswith("prompts"))
    wanted = settings.get("num_prompts", 0)
    if made < wanted and not lost:
        notes.append(f"prompts: {made} of {wanted} asked for")
    return notes


def _output(step: StepSummary | None) -> dict[str, Any]:
    return step.output if step is not None and isinstance(step.output, dict) else {}


def _explain(title: str, step: StepSummary) -> str:
    return f"{title}: {_message(step)}"


def _message(step: StepSummary | None) -> str:
    """Give a step's own words; those of a fault of ours say nothing to a caller and may name internals."""
    error = (step.error if step is not None else None) or {}
    if error.get("code") in {None, "fatal"}:
        return "an internal fault; the run's steps show it."
    return str(error.get("message") or "no reason was given.")
