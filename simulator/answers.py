"""What the simulated models say: a script when the test wrote one, else something plain and always the same."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHARACTERS_A_TOKEN = 4
ECHO_CHARACTERS = 80
MOST_SCHEMA_DEPTH = 12
BRACKETS = re.compile(r"[\[\]{}<>]")


@dataclass
class Answer:
    """One scripted answer.

    Args:
        content: the text; `json` is written as JSON instead when given.
        json: see `content`.
        model: only for this model id; empty for any.
        contains: only when the conversation holds this text.
        times: how often it serves; None for always.
        finish_reason: what the wire reports.
        usage: overrides of the reported usage, such as `{"prompt_tokens": 100, "cost": 0.01}`.
        tool_calls: a list of calls in the wire's own form.
        thinking: what the model thinks aloud before it speaks, on wires that show it.
        refusal: why it does not answer, on wires that have a place for that.
        lines: `{"key", "entry"}`: an object with a list under `key`, an entry for each line of the conversation that is
            a JSON object with the fields that the entry's texts name in braces.
    """

    content: str = ""
    json: Any = None
    model: str = ""
    contains: str = ""
    times: int | None = None
    finish_reason: str = "stop"
    usage: dict[str, Any] = field(default_factory=dict)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    thinking: str = ""
    refusal: str = ""
    lines: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Answer:
        """Read an answer; an unknown key is an error."""
        unknown = set(raw) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"unknown keys of an answer: {', '.join(sorted(unknown))}")
        return cls(**raw)

    @property
    def text(self) -> str:
        """What the model says."""
        return self.content if self.json is None else json.dumps(self.json)


@dataclass
class AnswerBook:
    """The scripted answers, first written first; and how long every answer takes."""

    answers: list[Answer] = field(default_factory=list)
    latency_s: float = 0.0
    retired: list[str] = field(default_factory=lambda: ["gpt-4.1-nano", "o4-mini"])

    def take(self, model: str, conversation: str) -> Answer | None:
        """Use the first answer that fits a request."""
        for answer in self.answers:
            if answer.model not in {"", model} or answer.contains not in conversation:
                continue
            if answer.times is not None:
                answer.times -= 1
                if answer.times <= 0:
                    self.answers.remove(answer)
            return replace(answer, json=answer_lines(answer.lines, conversation)) if answer.lines else answer
        return None


def answer_lines(wanted: Mapping[str, Any], conversation: str) -> dict[str, Any]:
    """Write an entry for each fitting line of a conversation; values lose their brackets, to read as texts."""
    entries = [_fill(wanted["entry"], given) for given in _objects(json.loads(conversation))]
    return {wanted["key"]: [entry for entry in entries if entry is not None]}


def _objects(said: Any) -> Iterator[dict[str, Any]]:
    if isinstance(said, str):
        for line in said.splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield json.loads(line)
    elif isinstance(said, dict | list):
        for part in said.values() if isinstance(said, dict) else said:
            yield from _objects(part)


def _fill(entry: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
    bare = {name: BRACKETS.sub("", str(value)) for name, value in given.items()}
    try:
        filled = {name: value.format_map(bare) for name, value in entry.items()}
    except KeyError:
        return None
    return {
        name: int(value) if value.isdecimal() and isinstance(given.get(name), int) else value
        for name, value in filled.items()
    }


def plain_answer(last_message: str, schema: Mapping[str, Any] | None) -> str:
    """Say something that depends on the request alone."""
    if schema is not None:
        return json.dumps(instance_of(schema, schema))
    return f"Simulated answer to: {last_message[:ECHO_CHARACTERS]}"


def count_tokens(text: str) -> int:
    """Count tokens roughly, as one would without the model's tokenizer; at least 1."""
    return max(1, -(-len(text) // CHARACTERS_A_TOKEN))


def instance_of(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Any:
    """Make the smallest value that a JSON schema allows; deep recursion ends in null."""
    if depth > MOST_SCHEMA_DEPTH:
        return None
    if "$ref" in schema:
        return instance_of(_resolve(str(schema["$ref"]), root), root, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return instance_of(schema[key][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _instance_of_type(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _instance_of_type(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if kind == "object":
        properties: Mapping[str, Any] = schema.get("properties", {})
        return {name: instance_of(properties[name], root, depth + 1) for name in properties}
    if kind == "array":
        return [
            instance_of(schema.get("items", {}), root, depth + 1) for _ in range(max(1, int(schema.get("minItems", 1))))
        ]
    if kind in {"integer", "number"}:
        return schema.get("minimum", 1)
    if kind == "boolean":
        return True
    return None if kind == "null" else "text".ljust(int(schema.get("minLength", 0)), "x")


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found[part] if part else found
    return found  # type: ignore[no-any-return]
