"""How large a workflow document may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of one document; each is there so that one caller cannot take a worker's memory or time.

    Args:
        max_tasks: tasks in the whole document, and blocks; part of the HTTP contract.
        max_items: items of a literal `for_each` list; the engine holds lists it learns later to it too.
        max_prompt_characters: one prompt, or one question of an approval.
        max_timeout_s: a day: what waits longer is a schedule, not a step.
        max_retries: tries after the first one.
        max_concurrency: steps of one block side by side.
        max_depth: lists and objects inside each other; render and the conditions recurse this deep.
        max_values: values in the document and its variables together; more than 1 MiB of JSON can hold.
        max_characters: all texts of the document and its variables together.
        max_key_characters: one name in an object.
        max_name_characters: one name of a variable that a step sets.
        max_problems: what one refusal lists; further ones are only mentioned.
    """

    max_tasks: int = 2_000
    max_items: int = 1_000
    max_prompt_characters: int = 200_000
    max_timeout_s: float = 86_400
    max_retries: int = 10
    max_concurrency: int = 1_000
    max_depth: int = 64
    max_values: int = 1_000_000
    max_characters: int = 20_000_000
    max_key_characters: int = 1_024
    max_name_characters: int = 128
    max_problems: int = 100


DEFAULT_LIMITS = Limits()
