"""What follows an acknowledgement: a model writes a workflow, it is checked, it runs, and its end is told."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from app.chat import prompts
from app.chat.agents import read_turn
from app.chat.history import as_messages, divide
from app.chat.model import EXPLAINER, REPORTER, THINKING, USER_MESSAGE
from app.errors import DocumentInvalidError, LogicalError, StepError, StepParked
from app.gateway.model import ModelCall
from app.runs.ports import Grown
from app.runs.waiting import in_thread
from app.workflows.written import quote_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.chat.model import Turn
    from app.chat.ports import PlanReader
    from app.chat.store import PgChatStore
    from app.runs.ports import ModelContext, StepSummary
    from app.workflows.model import Block, Workflow

logger = logging.getLogger(__name__)

REPAIRS = 2
PLACE = re.compile(r"[0-9]+\.[0-9]+")
"""The key of a task without an id."""

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEY_PREFIX = "w-"
"""Before the keys of a written plan, so that none is the key of a step of ours."""

QUOTED_BACK_CHARACTERS = 40_000
"""Of an answer that is no usable plan, in the repair: several times a plan, and a bound on what a runaway one costs."""

QUOTED_CHARACTERS = 1500  # of each part, for the model that tells of it
SHOWN_CHARACTERS = 20_000  # of each part, in the session
MOST_SHOWN_CHARACTERS = 100_000
PATIENT_ATTEMPTS = 3  # of the report, before it is told in plain words


class Planning:
    """The agent `chat_plan`: lets the strong model write a workflow, and adds it to the run once it is valid.

    Args:
        store: reads what was asked.
        reader: knows what may be written.
        told: what stands before every question to a model.
        history_tokens: most tokens of the session that the model is given.
    """

    def __init__(
        self, store: PgChatStore, reader: PlanReader, told: Callable[[str], tuple[str, ...]], *, history_tokens: int
    ) -> None:
        self._store = store
        self._reader = reader
        self._told = told
        self._history_tokens = history_tokens

    async def plan(self, context: ModelContext, given: dict[str, Any]) -> Grown:
        """Write the plan; nothing of it has run when this returns.

        Repeat-safe: each question is a part of its own in the ledger, and a run grows in the transaction that ends
        this step.

        Raises:
            LogicalError: what was written could not be used, after `REPAIRS` complaints.
        """
        del given
        turn = await read_turn(self._store, context)
        recalled = divide(turn.history, self._history_tokens)
        conversation = [*as_messages(turn.summary, recalled.newest)]
        prompt, complaint = turn.asked.message, ""
        for attempt in range(REPAIRS + 1):
            said = await context.ask(self._call(conversation, prompt), part=attempt)
            try:
                workflow = await in_thread(self._reader.read, said.text, turn.asked.message)
            except DocumentInvalidError as error:
                complaint = quote_problems(error)
                conversation += [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": said.text[:QUOTED_BACK_CHARACTERS] or "(nothing)"},
                ]
                prompt = f"That workflow cannot run:\n{complaint}\nWrite the whole document again, corrected."
                continue
            output = {"model": said.model, "repairs": attempt, "steps": [task.key for task in workflow.tasks()]}
            return Grown(output, blocks_of(workflow), {**workflow.variables, USER_MESSAGE: turn.asked.message})
        raise LogicalError(
            f"The plan for this could not be used after {REPAIRS + 1} tries; the last complaint: {complaint}",
            code="plan_invalid",
            final=True,
        )

    def _call(self, conversation: Sequence[Mapping[str, Any]], prompt: str) -> ModelCall:
        return ModelCall(
            model=THINKING,
            prompt=prompt,
            system=(*self._told(THINKING), prompts.PLAN, self._reader.describe()),
            history=tuple(conversation),
        )


def blocks_of(workflow: Workflow) -> tuple[Block, ...]:
    """Give a written plan's blocks with keys that no step of ours has, and that say what a step is about."""
    names = _name_tasks(workflow)
    return tuple(
        replace(
            block,
            tasks=tuple(
                replace(task, key=names[task.key], depends_on=tuple(names[key] for key in task.depends_on))
                for task in block.tasks
            ),
        )
        for block in workflow.blocks
    )


def _name_tasks(workflow: Workflow) -> dict[str, str]:
    """Call a task without an id by its variable: its key becomes a heading in the session."""
    tasks = list(workflow.tasks())
    taken = Counter([task.key for task in tasks] + [task.output_variable or "" for task in tasks])
    names = {}
    for task in tasks:
        variable = task.output_variable or ""
        has_no_id = PLACE.fullmatch(task.key)
        names[task.key] = variable if has_no_id and ID.fullmatch(variable) and taken[variable] == 1 else task.key
    return {key: KEY_PREFIX + name for key, name in names.items()}


@dataclass(frozen=True)
class _Ends:
    """How the steps of a plan ended."""

    made: tuple[StepSummary, ...]
    failed: tuple[StepSummary, ...]
    left_out: tuple[StepSummary, ...]

    @property
    def status(self) -> str:
        if not self.failed and not self.left_out:
            return "completed"
        return "partial" if self.made else "failed"


class Reporting:
    """The agent `chat_report`: tells the person what came of it, in the session.

    Args:
        store: takes the result.
        told: what stands before every question to a model.
    """

    def __init__(self, store: PgChatStore, told: Callable[[str], tuple[str, ...]]) -> None:
        self._store = store
        self._told = told

    async def report(self, context: ModelContext, given: dict[str, Any]) -> dict[str, Any]:
        """Tell what was made and what was not; models that fail at it are replaced by plain words.

        Repeat-safe: questions are found in the ledger, and the session takes each telling once. How much was made
        tells one from the next: a retry makes more, or has nothing new to tell.
        """
        del given
        turn = await read_turn(self._store, context)
        ends = _ends(await in_thread(context.earlier_steps))
        model = REPORTER if ends.made else EXPLAINER
        call = ModelCall(model=model, prompt=_brief(turn, ends), system=(*self._told(model), prompts.REPORT))
        words, teller = await _tell(context, call, part=len(ends.made))
        if not words:
            words = _plain_words(ends)
        elif ends.made and ends.status != "completed":
            words = f"{words}\n\n{_plain_failures(ends)}"  # whatever the model made of it
        text = "\n\n".join([words, *_shown(ends.made)])
        await in_thread(self._store.keep_result, turn, text, len(ends.made))
        return {"response": text, "status": ends.status, "model_used": teller}


async def _tell(context: ModelContext, call: ModelCall, part: int) -> tuple[str, str | None]:
    """Let a model say it; empty when it does not, since what was made must not wait for that."""
    try:
        said = await context.ask(call, part=part)
    except StepParked as parked:
        if parked.reason != "breaker":
            raise
        return "", None
    except StepError as error:
        if error.retryable and context.attempt < PATIENT_ATTEMPTS:
            raise
        logger.warning("the end of a plan is told in plain words: %s", error)
        return "", None
    return said.text, said.model


def _ends(steps: Sequence[StepSummary]) -> _Ends:
    """Sort the plan's steps, and the plan itself where it failed; items of a `for_each` count through it."""
    own = [
        step
        for step in steps
        if (step.key.startswith(KEY_PREFIX) and step.parent is None) or (step.key == "plan" and step.status == "failed")
    ]
    return _Ends(
        made=tuple(step for step in own if step.status == "completed"),
        failed=tuple(step for step in own if step.status == "failed"),
        left_out=tuple(step for step in own if step.status == "skipped" and step.reason != "when"),
    )


def _brief(turn: Turn, ends: _Ends) -> str:
    lines = [f"<request>\n{turn.asked.message[: QUOTED_CHARACTERS * 2]}\n</request>", f"How it ended: {ends.status}."]
    lines += [f"Made: {_name(step)}\n<part>\n{_text(step.output)[:QUOTED_CHARACTERS]}\n</part>" for step in ends.made]
    lines += [f"Failed: {_name(step)}: {_why(step)}" for step in ends.failed]
    lines += [f"Left out, for want of what failed: {_name(step)}" for step in ends.left_out]
    return "\n\n".join(lines)


def _plain_words(ends: _Ends) -> str:
    if not ends.made:
        return _plain_failures(ends)
    made = f"Made: {', '.join(map(_name, ends.made))}."
    return made if not (ends.failed or ends.left_out) else f"{made}\n\n{_plain_failures(ends)}"


def _plain_failures(ends: _Ends) -> str:
    lines = ["This could not be done:", *(f"- {_name(step)}: {_why(step)}" for step in ends.failed)]
    return "\n".join([*lines, *(f"- {_name(step)}: left out for want of the above" for step in ends.left_out)])


def _shown(made: Sequence[StepSummary]) -> list[str]:
    """Write the parts as the session shows them; where they are too long together, the rest is in the run."""
    shown, used = [], 0
    for step in made:
        text = _text(step.output)
        room = min(SHOWN_CHARACTERS, MOST_SHOWN_CHARACTERS - used)
        if room <= 0:
            shown.append("(The other parts are in the run's result.)")
            break
        used += min(len(text), room)
        cut = text if len(text) <= room else f"{text[:room]}\n(cut here; the whole is in the run's result)"
        shown.append(f"## {_name(step)}\n\n{cut}")
    return shown


def _name(step: StepSummary) -> str:
    if step.key == "plan":
        return "the plan"
    return step.key.removeprefix(KEY_PREFIX).replace("_", " ")


def _why(step: StepSummary) -> str:
    error = step.error or {}
    return str(error.get("explanation") or error.get("message") or "it failed")[:QUOTED_CHARACTERS]


def _text(output: Any) -> str:
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, default=str)
