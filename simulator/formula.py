"""Read and evaluate the part of Airtable's formula language that callers filter with.

Comparisons (`=`, `!=`, `<`, `<=`, `>`, `>=`) over `{Field}`, texts, numbers, and the functions in `_FUNCTIONS`, as
`pyairtable.formulas` writes them. Anything else is refused, as the vendor refuses what it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Node = Callable[[Row], Any]

RECORD_ID_KEY = "\0id"  # no field can be called this
CREATED_KEY = "\0created"

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?\d+(?:\.\d+)?)
    | '(?P<single>(?:[^'\\]|\\.)*)'
    | "(?P<double>(?:[^"\\]|\\.)*)"
    | \{(?P<field>(?:[^}\\]|\\.)*)\}
    | (?P<name>[A-Za-z_][A-Za-z0-9_ ]*?)(?=\s*\()
    | (?P<bare>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>!=|<=|>=|=|<|>|\(|\)|,|&)
    )""",
    re.VERBOSE,
)


class FormulaError(ValueError):
    """A formula that cannot be read, or that names a field the table does not have."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def compile_formula(text: str, fields: set[str]) -> Callable[[Row], bool]:
    """Turn a formula into a test of a row.

    Args:
        text: the formula.
        fields: names of the table's fields; others are refused.

    Raises:
        FormulaError: it cannot be read.
    """
    parser = _Parser(_tokens(text), fields)
    node = parser.comparison()
    if parser.rest():
        raise FormulaError(f"unexpected {parser.rest()[0].text!r}")
    return lambda row: _truth(node(row))


def _tokens(text: str) -> list[_Token]:
    tokens, place = [], 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise FormulaError(f"cannot read {text[place : place + 20]!r}")
        kind = str(found.lastgroup)
        raw = found.group(kind)
        tokens.append(
            _Token("text", re.sub(r"\\(.)", r"\1", raw)) if kind in {"single", "double"} else _Token(kind, raw.strip())
        )
        place = found.end()
    return tokens


class _Parser:
    """Recursive descent; each method reads one rule and returns its node."""

    def __init__(self, tokens: list[_Token], fields: set[str]) -> None:
        self._tokens = tokens
        self._place = 0
        self._fields = fields

    def rest(self) -> list[_Token]:
        return self._tokens[self._place :]

    def comparison(self) -> Node:
        left = self._value()
        while self._peek() in {"=", "!=", "<", "<=", ">", ">=", "&"}:
            sign = self._next().text
            left = _compare(sign, left, self._value())
        return left

    def _peek(self) -> str:
        token = self._tokens[self._place] if self._place < len(self._tokens) else None
        return token.text if token is not None and token.kind == "sign" else ""

    def _next(self) -> _Token:
        if self._place >= len(self._tokens):
            raise FormulaError("the formula ends too early")
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, sign: str) -> None:
        token = self._next()
        if (token.kind, token.text) != ("sign", sign):
            raise FormulaError(f"expected {sign!r}, found {token.text!r}")

    def _value(self) -> Node:
        token = self._next()
        if token.kind == "number":
            number = float(token.text)
            return lambda _row: number
        if token.kind == "text":
            return lambda _row: token.text
        if token.kind in {"field", "bare"}:
            return self._field(token.text.replace("\\}", "}"))
        if token.kind == "name":
            return self._call(token.text.upper())
        if token.text == "(":
            inner = self.comparison()
            self._expect(")")
            return inner
        raise FormulaError(f"unexpected {token.text!r}")

    def _field(self, name: str) -> Node:
        if name not in self._fields:
            raise FormulaError(f"unknown field names: {name.lower()}")
        return lambda row: row.get(name)

    def _call(self, name: str) -> Node:
        if name not in _FUNCTIONS:
            raise FormulaError(f"unknown function {name}")
        self._expect("(")
        arguments: list[Node] = []
        while self._peek() != ")":
            arguments.append(self.comparison())
            if self._peek() != ",":
                break
            self._next()
        self._expect(")")
        function = _FUNCTIONS[name]
        return lambda row: function(row, [argument(row) for argument in arguments])


def _truth(value: Any) -> bool:
    return bool(value) and value != "" if not isinstance(value, list) else bool(value)


def _plain(value: Any) -> Any:
    """Read a cell for a comparison: blank is empty, a list its texts joined, a flag a number."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return float(value) if isinstance(value, int) else value


def _compare(sign: str, left: Node, right: Node) -> Node:
    def run(row: Row) -> Any:
        a, b = _plain(left(row)), _plain(right(row))
        if sign == "&":
            return f"{_text(a)}{_text(b)}"
        if sign in {"=", "!="}:
            same = (a or 0) == (b or 0) if isinstance(a, float) or isinstance(b, float) else a == b
            return same if sign == "=" else not same
        if not isinstance(a, type(b)):
            return False
        return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign]

    return run


def _text(value: Any) -> str:
    plain = _plain(value)
    return f"{plain:g}" if isinstance(plain, float) else str(plain)


_FUNCTIONS: dict[str, Callable[[Row, list[Any]], Any]] = {
    "AND": lambda _row, values: all(_truth(value) for value in values),
    "OR": lambda _row, values: any(_truth(value) for value in values),
    "NOT": lambda _row, values: not _truth(values[0]),
    "TRUE": lambda _row, _values: True,
    "FALSE": lambda _row, _values: False,
    "BLANK": lambda _row, _values: None,
    "RECORD_ID": lambda row, _values: row[RECORD_ID_KEY],
    "CREATED_TIME": lambda row, _values: row[CREATED_KEY],
    "LOWER": lambda _row, values: _text(values[0]).lower(),
    "UPPER": lambda _row, values: _text(values[0]).upper(),
    "TRIM": lambda _row, values: _text(values[0]).strip(),
    "LEN": lambda _row, values: float(len(_text(values[0]))),
    "FIND": lambda _row, values: float(_text(values[1]).find(_text(values[0])) + 1),
    "DATETIME_PARSE": lambda _row, values: _moment(values[0]),
    "IS_AFTER": lambda _row, values: _moment(values[0]) > _moment(values[1]),
    "IS_BEFORE": lambda _row, values: _moment(values[0]) < _moment(values[1]),
}


def _moment(value: Any) -> str:
    """Make ISO texts comparable: a blank for the T, no fraction, no zone."""
    return re.sub(r"(\.\d+)?(Z|[+-]\d\d:?\d\d)?$", "", _text(value)).replace("T", " ")
