"""Read one task of a document; what is wrong with it is noted at its place, and reading goes on."""

from __future__ import annotations

import re
from typing import Any, Final

from app.workflows.catalog import Catalog
from app.workflows.conditions import check_condition
from app.workflows.limits import Limits
from app.workflows.model import KINDS, Task, TaskKind
from app.workflows.places import Problems, inside, kind_of, shown, unknown_name
from app.workflows.values import ValueReader, given, number, texts, whole_number
from app.workflows.variables import is_name, is_placeholder

FIELDS: Final = (
    *KINDS,
    *("id", "prompt", "input", "output_variable", "config", "when", "for_each", "timeout_s", "retries"),
    *("fallback", "input_image", "depends_on"),
)
"""What a task may say. Other names are ignored: callers' tools send extras."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # no dot, so that an id is never the key of a task without one
_SAMPLING: Final = {"temperature": (0, 2), "top_p": (0, 1)}  # what every vendor takes at most
_MAX_TOKENS: Final = 10_000_000  # beyond any model; guards the worst case a budget reserves


class TaskReader:
    """Read tasks of one document.

    Args:
        catalog: names that exist.
        limits: the bounds.
        problems: where what is wrong is noted.
        values: copies free-form parts.
    """

    def __init__(self, catalog: Catalog, limits: Limits, problems: Problems, values: ValueReader) -> None:
        self._known = {"model": catalog.models, "agent": catalog.agents, "tool": catalog.tools}
        self._addons = catalog.addons
        self._limits = limits
        self._problems = problems
        self._values = values

    def read(self, raw: Any, key: str, place: str) -> Task | None:
        """Read one task.

        Args:
            raw: an entry of `tasks`.
            key: its key if it has no id.
            place: where it stands.

        Returns:
            The task, of use only when nothing was noted; None when there is nothing like a task at all.
        """
        if not isinstance(raw, dict):
            self._problems.add(place, f"A task must be an object, not {kind_of(raw)}.")
            return None
        said = given(raw, FIELDS)
        kind, target = self._target(said, place)
        return Task(
            key=self._id(said, place) or key,
            place=place,
            kind=kind,
            target=target,
            prompt=self._prompt(said, kind, place),
            input=self._value(said, "input", place, {}),
            output_variable=self._output_variable(said, place),
            config=self._config(said, place, kind),
            when=self._when(said, place),
            for_each=self._for_each(said, place),
            timeout_s=self._timeout_s(said, place),
            retries=self._retries(said, place),
            fallback=self._fallback(said, place),
            input_image=self._text(said, "input_image", place),
            depends_on=self._depends_on(said, place),
        )

    def _target(self, said: dict[str, Any], place: str) -> tuple[TaskKind, str]:
        kinds = [kind for kind in KINDS if kind in said]
        if len(kinds) != 1:
            found = f", not {' and '.join(kinds)}" if kinds else ""
            self._problems.add(place, f"A task needs exactly one of model, agent, tool, approval{found}.")
            return "tool", ""
        kind = kinds[0]
        target = self._text(said, kind, place)
        if target is not None and kind == "approval":
            self._check_length(target, inside(place, kind))
        elif target is not None and target not in self._known[kind]:
            self._unknown(inside(place, kind), kind, target, self._known[kind])
        return kind, target or ""

    def _unknown(self, place: str, kind: str, name: str, known: frozenset[str]) -> None:
        # Looking for the nearest name is not cheap, and a list can hold a hundred thousand wrong ones.
        if not self._problems.full:
            self._problems.add(place, unknown_name(kind, name, known))

    def _id(self, said: dict[str, Any], place: str) -> str | None:
        if "id" not in said:
            return None
        if isinstance(said["id"], str) and _ID.fullmatch(said["id"]):
            return said["id"]
        self._problems.add(
            inside(place, "id"), f"Must be 1 to 64 of A-Z, a-z, 0-9, _ and -, as a text, not {shown(said['id'])}."
        )
        return None

    def _prompt(self, said: dict[str, Any], kind: TaskKind, place: str) -> str | None:
        prompt = self._text(said, "prompt", place)
        if prompt is not None:
            self._check_length(prompt, inside(place, "prompt"))
        if kind == "model" and ("prompt" not in said or (prompt is not None and not prompt.strip())):
            self._problems.add(inside(place, "prompt"), "A model needs a prompt.")
        return prompt

    def _check_length(self, text: str, place: str) -> None:
        limit = self._limits.max_prompt_characters
        if len(text) > limit:
            self._problems.add(place, f"Is {len(text)} characters long; at most {limit} are taken.")

    def _text(self, said: dict[str, Any], field: str, place: str) -> str | None:
        if field not in said:
            return None
        value = said[field]
        if not isinstance(value, str):
            self._problems.add(inside(place, field), f"Must be a text, not {kind_of(value)}.")
            return None
        read: str | None = self._values.read(value, inside(place, field))
        return read

    def _value(self, said: dict[str, Any], field: str, place: str, default: Any) -> Any:
        return self._values.read(said[field], inside(place, field)) if field in said else default

    def _output_variable(self, said: dict[str, Any], place: str) -> str | None:
        if "output_variable" not in said:
            return None
        name, limit = said["output_variable"], self._limits.max_name_characters
        if isinstance(name, str) and len(name) <= limit and is_name(name):
            return name
        self._problems.add(
            inside(place, "output_variable"),
            f"Must be a name of at most {limit} letters, digits, _, - and single blanks, not {shown(name)}.",
        )
        return None

    def _config(self, said: dict[str, Any], place: str, kind: TaskKind) -> dict[str, Any]:
        here = inside(place, "config")
        config = self._value(said, "config", place, {})
        if not isinstance(config, dict):
            self._problems.add(here, f"Must be an object, not {kind_of(config)}.")
            return {}
        self._check_addons(config.get("addons"), inside(here, "addons"))
        if kind == "model":
            self._check_sampling(config, here)
        return config

    def _check_addons(self, addons: Any, place: str) -> None:
        if addons is None:
            return
        if not isinstance(addons, list):
            self._problems.add(place, f"Must be a list of names, not {kind_of(addons)}.")
            return
        for position, name in enumerate(addons):
            if not isinstance(name, str):
                self._problems.add(inside(place, position), f"Must be a name, not {kind_of(name)}.")
            elif name not in self._addons:
                self._unknown(inside(place, position), "addon", name, self._addons)

    def _check_sampling(self, config: dict[str, Any], place: str) -> None:
        for name, (low, high) in _SAMPLING.items():
            if _is_fixed(config.get(name)) and number(config[name], low, high) is None:
                self._expected(inside(place, name), f"a number from {low} to {high}", config[name])
        name = "max_tokens"
        if _is_fixed(config.get(name)) and whole_number(config[name], 1, _MAX_TOKENS) is None:
            self._expected(inside(place, name), f"a whole number from 1 to {_MAX_TOKENS}", config[name])

    def _expected(self, place: str, what: str, value: Any) -> None:
        self._problems.add(place, f"Must be {what}, not {shown(value)}.")

    def _when(self, said: dict[str, Any], place: str) -> dict[str, Any] | None:
        if "when" not in said:
            return None
        noted = self._problems.count
        condition: dict[str, Any] = self._value(said, "when", place, None)
        if self._problems.count == noted:  # where a part was refused, null stands in its stead
            check_condition(condition, inside(place, "when"), self._problems)
        return condition

    def _for_each(self, said: dict[str, Any], place: str) -> Any | None:
        if "for_each" not in said:
            return None
        here, items = inside(place, "for_each"), said["for_each"]
        if isinstance(items, str) and is_placeholder(items):
            return self._values.read(items, here)
        if not isinstance(items, list):
            self._expected(here, "a list or a text that is one placeholder, such as {slices}", items)
            return None
        if len(items) > self._limits.max_items:
            self._problems.add(here, f"Has {len(items)} items; at most {self._limits.max_items} are taken.")
            return None
        return self._values.read(items, here)

    def _timeout_s(self, said: dict[str, Any], place: str) -> float | None:
        if "timeout_s" not in said:
            return None
        value, limit = said["timeout_s"], self._limits.max_timeout_s
        seconds = number(value, 0, limit)
        if not seconds:
            self._expected(inside(place, "timeout_s"), f"a number of seconds over 0 and up to {limit}", value)
        return seconds

    def _retries(self, said: dict[str, Any], place: str) -> int | None:
        if "retries" not in said:
            return None
        value, limit = said["retries"], self._limits.max_retries
        retries = whole_number(value, 0, limit)
        if retries is None:
            self._expected(inside(place, "retries"), f"a whole number from 0 to {limit}", value)
        return retries

    def _fallback(self, said: dict[str, Any], place: str) -> tuple[str, ...]:
        here, value = inside(place, "fallback"), said.get("fallback", [])
        names = texts([value] if isinstance(value, str) else value)
        if names is None:
            self._expected(here, "a model's name or a list of such", value)
            return ()
        for name in names:
            if name not in self._known["model"]:
                self._unknown(here, "model", name, self._known["model"])
        return tuple(names)

    def _depends_on(self, said: dict[str, Any], place: str) -> tuple[str, ...]:
        value = said.get("depends_on", [])
        keys = texts(value)
        if keys is None:
            self._expected(inside(place, "depends_on"), "a list of ids", value)
        return tuple(keys or ())


def _is_fixed(value: Any) -> bool:
    """Tell whether a setting is known before its variables are; one that is a placeholder the gateway checks."""
    return value is not None and not (isinstance(value, str) and is_placeholder(value))
