"""Read a workflow that a model wrote, and refuse what nobody asked it for, before a step of it runs.

A model's text is untrusted: what it was shown may have told it what to write. So only names it may use exist here, paid
images and film only where the person asked for them, and everything is small. All that is wrong is said at once, each
at its place, so that one repair round can mend it.

What only tunes a step (`fallback`, `retries`, `timeout_s`, `latency`, settings we do not list) is left to the
installation and taken out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

from app.errors import DocumentInvalidError
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from app.workflows.limits import Limits
from app.workflows.model import BlockType, Task, Workflow
from app.workflows.places import DOCUMENT, Problems, inside
from app.workflows.variables import is_placeholder, lookup, names_in

WRITTEN_LIMITS: Final = Limits(
    max_tasks=30,
    max_items=20,
    max_prompt_characters=20_000,
    max_timeout_s=3600,
    max_concurrency=20,
    max_depth=16,
    max_values=20_000,
    max_characters=400_000,
    max_key_characters=128,
    max_problems=30,
)
"""What a plan for one request needs at most; the grammar's own bounds are a caller's, who pays knowingly."""

MOST_CALLS: Final = 60
"""Tasks and items of all `for_each` together."""

MOST_MADE: Final = {"image": 20, "video": 4}
"""Images and films of a whole plan, however many tasks it has: each costs what hundreds of answers in words do."""

MOST_ANSWER_CHARACTERS: Final = 1_000_000
CHAT: Final = "chat"

_KEPT_SETTINGS: Final = {
    "chat": frozenset({"temperature", "top_p", "max_tokens", "addons"}),
    "image": frozenset({"aspect_ratio", "negative_prompt", "num_images", "enhance_prompt", "quality", "safety_filter"}),
    "video": frozenset({"aspect_ratio", "duration", "resolution", "generate_audio"}),
}
_MOST: Final = {"max_tokens": 16_000, "num_images": 4, "duration": 8}
"""Of settings that cost money by their size."""

_FENCE: Final = re.compile(r"```[A-Za-z0-9]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_MEDIA_WORDS: Final = {
    "image": re.compile(
        r"\b(?:image|picture|photo|photograph|illustration|drawing|logo|poster|banner|thumbnail|artwork|bild|foto|"
        r"grafik|imagen|imágen|dibujo|ilustraci[oó]n)(?:s|e|es|er|en|ns)?\b",
        re.IGNORECASE,
    ),
    "video": re.compile(
        r"\b(?:video|vídeo|film|movie|clip|animation|animaci[oó]n|pel[ií]cula|trailer)(?:s|e|es|en)?\b", re.IGNORECASE
    ),
}
_DENIED: Final = re.compile(
    r"\b(?:no|not|non|never|without|neither|nor|don'?t|skip|except|kein\w*|nicht|ohne|sin|ningun[ao]?|ni)\b"
    r"(?:\W+\w+){0,4}\W*$",
    re.IGNORECASE,
)
_CLAUSE_END: Final = re.compile(r"[.!?;:\n]|\b(?:but|aber|sondern|pero|sino)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WrittenRules:
    """What a written workflow may hold.

    Args:
        catalog: names that exist for it: models, and only those agents and tools that are allowed.
        kinds: what a model makes, by its name or alias (`chat`, `image`, `video`); `chat` where nothing is said.
        asked_for: kinds besides chat that the person asked for, such as `media_asked_for` finds.
        approvals: whether it may ask a person and wait.
        limits: how large it may be.
        most_calls: tasks and items together.
    """

    catalog: Catalog
    kinds: Mapping[str, str] = field(default_factory=dict)
    asked_for: frozenset[str] = frozenset()
    approvals: bool = False
    limits: Limits = WRITTEN_LIMITS
    most_calls: int = MOST_CALLS

    def kind_of(self, model: str) -> str:
        """Say what a model makes."""
        return self.kinds.get(model, CHAT)


def media_asked_for(request: str) -> frozenset[str]:
    """Find which paid kinds a person's own words ask for: `image`, `video`.

    A word counts unless something shortly before it, in its sentence, denies it. Only the person's message may be
    given: words of documents, of earlier answers or of a plan would let others spend the person's money.
    """
    return frozenset(kind for kind, words in _MEDIA_WORDS.items() if any(_asked(request, words)))


def _asked(request: str, words: re.Pattern[str]) -> Iterator[bool]:
    for match in words.finditer(request):
        before = _CLAUSE_END.split(request[max(0, match.start() - 120) : match.start()])[-1]
        if not _DENIED.search(before):
            yield True


def read_written(said: str, rules: WrittenRules, variables: Mapping[str, Any] | None = None) -> Workflow:
    """Read what a model answered.

    Args:
        said: its whole answer.
        rules: what it may hold.
        variables: what the run starts from besides; the document can neither change nor set them.

    Returns:
        A workflow that may run, with the document's variables and the given ones.

    Raises:
        DocumentInvalidError: every problem by place, to be quoted back. Nothing else, whatever was answered.
    """
    return check_written(find_document(said), rules, variables)


def quote_problems(error: DocumentInvalidError) -> str:
    """Write the problems as lines for the model that has to mend them."""
    return "\n".join(f"- {place}: {message}" for place, messages in error.errors.items() for message in messages)


def find_document(said: str) -> Any:
    """Find the JSON in an answer: the last fenced block that is a document, else from the first brace to the last.

    Raises:
        DocumentInvalidError: there is none, or it is far too long.
    """
    if len(said) > MOST_ANSWER_CHARACTERS:
        _refuse(f"The answer is {len(said)} characters long; at most {MOST_ANSWER_CHARACTERS} are read.")
    for block in reversed(_FENCE.findall(said)):
        found = _parsed(block)
        if _is_document(found):
            return found
    first, last = said.find("{"), said.rfind("}")
    found = _parsed(said[first : last + 1]) if 0 <= first < last else None
    if found is None:
        _refuse("There is no JSON document in the answer.")
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also a number of thousands of digits
        return None


def _is_document(found: Any) -> bool:
    return (isinstance(found, dict) and "workflow" in found) or (isinstance(found, list) and bool(found))


def check_written(document: Any, rules: WrittenRules, variables: Mapping[str, Any] | None = None) -> Workflow:
    """Check a parsed document; as `read_written`.

    Raises:
        DocumentInvalidError: every problem by place.
    """
    problems: dict[str, list[str]] = {}
    workflow: Workflow | None = None
    try:
        workflow = parse_workflow(document, variables, catalog=rules.catalog, limits=rules.limits)
    except DocumentInvalidError as error:
        problems = error.errors
    # The rest is looked for in any case: a second repair round for what could be said in the first costs a call.
    checker = _Checker(rules, dict(variables or {}))
    checker.look_at(document)
    if workflow is not None:
        checker.judge(workflow)
    for place, messages in checker.found().items():
        problems.setdefault(place, []).extend(messages)
    if problems or workflow is None:
        raise DocumentInvalidError("The written workflow cannot be run; `errors` names each place.", errors=problems)
    return _tamed(workflow, rules)


class _Checker:
    """Looks at the raw document, where the grammar may have found no task at all, then at the parsed one."""

    def __init__(self, rules: WrittenRules, given: Mapping[str, Any]) -> None:
        self._rules = rules
        self._given = given
        self._problems = Problems(rules.limits.max_problems)

    def found(self) -> dict[str, list[str]]:
        """Give the problems by place."""
        try:
            self._problems.raise_if_any()
        except DocumentInvalidError as error:
            return error.errors
        return {}

    def look_at(self, document: Any) -> None:
        """Check each task by itself, as far as it is one."""
        own = document.get("variables") if isinstance(document, dict) else None
        known = {**own, **self._given} if isinstance(own, dict) else self._given
        for place, raw in _raw_tasks(document, self._rules.limits.max_tasks):
            self._check_kind(raw, place)
            self._check_loop(raw.get("for_each"), inside(place, "for_each"), known)
            self._check_sizes(raw.get("config"), inside(place, "config"))
            self._check_image(raw.get("input_image"), inside(place, "input_image"))
            if isinstance(raw.get("output_variable"), str) and raw["output_variable"] in self._given:
                self._problems.add(inside(place, "output_variable"), "This variable is given; choose another name.")

    def _check_kind(self, raw: dict[str, Any], place: str) -> None:
        if raw.get("approval") and not self._rules.approvals:
            self._problems.add(inside(place, "approval"), "A plan cannot ask a person; use a model.")
        for name, known in (("agent", self._rules.catalog.agents), ("tool", self._rules.catalog.tools)):
            if raw.get(name) and not known:
                self._problems.add(inside(place, name), f"A plan cannot use a {name}; use a model.")
        model = raw.get("model")
        kind = self._rules.kind_of(model) if isinstance(model, str) else CHAT
        if kind not in {CHAT, *self._rules.asked_for}:
            self._problems.add(
                inside(place, "model"), f"Makes {kind}s, which cost extra and were not asked for; leave the task out."
            )

    def _check_loop(self, items: Any, place: str, known: Mapping[str, Any]) -> None:
        if not isinstance(items, str) or not is_placeholder(items):
            return  # a literal list is bounded by the grammar
        found = lookup(items[1:-1], known)
        if not isinstance(found, list):
            self._problems.add(
                place, "Must be a list that stands here: nobody knows how long one that is made will be."
            )
        elif len(found) > self._rules.limits.max_items:
            message = f"Has {len(found)} items; at most {self._rules.limits.max_items} are taken."
            self._problems.add(place, message)

    def _check_sizes(self, config: Any, place: str) -> None:
        if not isinstance(config, dict):
            return
        for name, most in _MOST.items():
            value = config.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
                self._problems.add(inside(place, name), f"Must be a number up to {most}.")

    def _check_image(self, image: Any, place: str) -> None:
        if image not in (None, "") and not (isinstance(image, str) and is_placeholder(image)):
            self._problems.add(place, "Must be a placeholder of a variable that holds an image.")

    def judge(self, workflow: Workflow) -> None:
        """Check what only the whole shows."""
        for task, seen in _with_seen(workflow):
            missing = sorted(task.reads() - seen)
            if missing:
                listed = ", ".join(f"{{{name}}}" for name in missing)
                message = f"Nothing before it sets {listed}; write square brackets where no variable is meant."
                self._problems.add(task.place, message)
        calls = sum(_items_of(task, workflow.variables) for task in workflow.tasks())
        if calls > self._rules.most_calls:
            message = f"Comes to {calls} calls; at most {self._rules.most_calls} are made."
            self._problems.add("workflow", message)
        for kind, most in MOST_MADE.items():
            made = [
                task for task in workflow.tasks() if task.kind == "model" and self._rules.kind_of(task.target) == kind
            ]
            count = sum(_items_of(task, workflow.variables) * _made_at_once(task) for task in made)
            if count > most:
                self._problems.add("workflow", f"Makes {count} {kind}s; at most {most} are made for one request.")


def _raw_tasks(document: Any, most: int) -> Iterator[tuple[str, dict[str, Any]]]:
    blocks = document.get("workflow") if isinstance(document, dict) else document
    count = 0
    for index, block in enumerate(blocks if isinstance(blocks, list) else ()):
        tasks = block.get("tasks") if isinstance(block, dict) else None
        for position, task in enumerate(tasks if isinstance(tasks, list) else ()):
            count += 1
            if count > most:
                return
            if isinstance(task, dict):
                yield f"workflow[{index}].tasks[{position}]", task


def _with_seen(workflow: Workflow) -> Iterator[tuple[Task, frozenset[str]]]:
    """Give each task with the variables it sees."""
    seen = frozenset(workflow.variables)
    for block in workflow.blocks:
        made: dict[str, frozenset[str]] = {}  # by key, what a task and all it depends on have set
        here = seen
        for task in block.tasks:
            own = frozenset({task.output_variable} if task.output_variable else ())
            if block.type is BlockType.GRAPH:
                before = seen.union(*(made[key] for key in task.depends_on))
                made[task.key] = before | own
            else:
                before = here if block.type is BlockType.INLINE else seen
            yield task, before
            here |= own
        seen = here


def _items_of(task: Task, variables: Mapping[str, Any]) -> int:
    items = task.for_each
    if isinstance(items, str):
        items = lookup(items[1:-1], variables)
    return len(items) if isinstance(items, list) else 1


def _made_at_once(task: Task) -> int:
    count = task.config.get("num_images")
    if isinstance(count, int | float) and 0 < count <= _MOST["num_images"]:  # what does not fit is refused by itself
        return math.ceil(count)
    return 1


def _tamed(workflow: Workflow, rules: WrittenRules) -> Workflow:
    """Take out what is the installation's to decide."""
    blocks = tuple(
        replace(block, latency="live", tasks=tuple(_tamed_task(task, rules) for task in block.tasks))
        for block in workflow.blocks
    )
    return replace(workflow, blocks=blocks)


def _tamed_task(task: Task, rules: WrittenRules) -> Task:
    kept = _KEPT_SETTINGS.get(rules.kind_of(task.target), frozenset()) if task.kind == "model" else frozenset()
    config = {name: value for name, value in task.config.items() if name in kept and not names_in(value)}
    return replace(task, config=config, fallback=(), retries=None, timeout_s=None)


def _refuse(message: str) -> NoReturn:
    raise DocumentInvalidError(message, errors={DOCUMENT: [message]})
