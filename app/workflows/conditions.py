"""Conditions of `when`: `{var, op, value}`, `{all: [...]}`, `{any: [...]}`, `{not: ...}`. Data, never code.

Values compare as JSON does: true is not 1, 1 is 1.0, and null is what a variable is that nobody set. Because models
answer in text, a text that reads as a number counts as one where the condition's own value is a number.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from app.workflows.places import Problems, inside, kind_of, shown
from app.workflows.variables import MISSING, is_path, lookup, root_of

_FORMS: Final = ("var", "all", "any", "not")
_EQUALITY: Final = frozenset({"==", "!="})
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PRESENCE: Final = frozenset({"exists", "empty"})
OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=", "in", "exists", "empty")
_NUMBER: Final = re.compile(r"\s*(-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?)\s*", re.ASCII)


def holds(condition: dict[str, Any], scope: Mapping[str, Any]) -> bool:
    """Judge a condition that `check_condition` found right.

    Args:
        condition: as in the document; its values are taken literally, placeholders in them mean nothing.
        scope: variables by name.
    """
    if "all" in condition:
        return all(holds(part, scope) for part in condition["all"])
    if "any" in condition:
        return any(holds(part, scope) for part in condition["any"])
    if "not" in condition:
        return not holds(condition["not"], scope)
    return _compare(lookup(condition["var"], scope), condition["op"], condition.get("value"))


def names_in_condition(condition: dict[str, Any]) -> frozenset[str]:
    """Collect the variables a condition asks for."""
    return frozenset(root_of(path) for path in _paths_in(condition))


def _paths_in(condition: dict[str, Any]) -> Iterator[str]:
    pending = [condition]
    while pending:
        part = pending.pop()
        if "var" in part:
            yield part["var"]
        pending.extend(part.get("all", ()))
        pending.extend(part.get("any", ()))
        if "not" in part:
            pending.append(part["not"])


def _compare(found: Any, op: str, wanted: Any) -> bool:
    if op in _PRESENCE:
        test = _exists if op == "exists" else _empty
        return test(found) is not (wanted is False)
    actual = None if found is MISSING else found
    if op in _EQUALITY:
        return _matches(actual, wanted) is (op == "==")
    if op == "in":
        return _is_in(actual, wanted)
    return _in_order(actual, op, wanted)


def _exists(found: Any) -> bool:
    return found is not MISSING and found is not None


def _empty(found: Any) -> bool:
    if isinstance(found, str):
        return not found.strip()
    return not _exists(found) or (isinstance(found, list | dict) and not found)


def _matches(actual: Any, wanted: Any) -> bool:
    return same_json(_as_number(actual) if _is_number(wanted) else actual, wanted)


def _is_in(actual: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_matches(actual, one) for one in wanted)
    return isinstance(actual, str) and actual in wanted


def _in_order(actual: Any, op: str, wanted: Any) -> bool:
    if _is_number(wanted):
        actual = _as_number(actual)
        return _is_number(actual) and _ORDER[op](actual, wanted)
    return isinstance(actual, str) and _ORDER[op](actual, wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _NUMBER.fullmatch(value)
    if match is None:
        return value
    digits = match[1]
    return int(digits) if digits.lstrip("-").isdigit() else float(digits)


def same_json(left: Any, right: Any) -> bool:
    """Tell whether two values are the same JSON; unlike `==`, true is not 1, and depth does not matter."""
    pending = [(left, right)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pending.extend((item, other[key]) for key, item in one.items())
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pending.extend(zip(one, other, strict=True))
        elif isinstance(one, bool) is not isinstance(other, bool) or one != other:
            return False
    return True


def check_condition(condition: Any, place: str, problems: Problems) -> None:
    """Note what is wrong with a condition, at every depth."""
    if not isinstance(condition, dict):
        problems.add(place, f"A condition must be an object, not {kind_of(condition)}.")
        return
    forms = [form for form in _FORMS if form in condition]
    if len(forms) != 1:
        problems.add(place, "A condition needs exactly one of var, all, any, not.")
    elif forms == ["var"]:
        _check_comparison(condition, place, problems)
    elif forms == ["not"]:
        check_condition(condition["not"], inside(place, "not"), problems)
    else:
        _check_parts(condition[forms[0]], inside(place, forms[0]), problems)


def _check_parts(parts: Any, place: str, problems: Problems) -> None:
    if not isinstance(parts, list):
        problems.add(place, f"Must be a list of conditions, not {kind_of(parts)}.")
        return
    for position, part in enumerate(parts):
        if problems.full:
            return
        check_condition(part, inside(place, position), problems)


def _check_comparison(condition: dict[str, Any], place: str, problems: Problems) -> None:
    path, op = condition["var"], condition.get("op")
    if not isinstance(path, str) or not is_path(path):
        problems.add(
            inside(place, "var"), f"Must be a variable's name, such as score or plan.title, not {shown(path)}."
        )
    if not isinstance(op, str) or op not in OPERATORS:
        problems.add(inside(place, "op"), f"Must be one of {' '.join(OPERATORS)}, not {shown(op)}.")
        return
    complaint = _value_complaint(op, condition)
    if complaint:
        problems.add(inside(place, "value"), complaint)


def _value_complaint(op: str, condition: dict[str, Any]) -> str:
    value = condition.get("value")
    if op in _PRESENCE:
        return (
            "" if value is None or isinstance(value, bool) else f"Must be true, false or left out, not {shown(value)}."
        )
    if "value" not in condition:
        return f"Is needed with {op}."
    if op in _ORDER and not (_is_number(value) or isinstance(value, str)):
        return f"Must be a number or a text with {op}, not {shown(value)}."
    if op == "in" and not isinstance(value, list | str | dict):
        return f"Must be a list, a text or an object with in, not {shown(value)}."
    return ""
