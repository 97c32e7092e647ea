"""Templates: documents that a caller only gives variables to.

A template may have parts that not every installation can make (an image, a film). For each it names a variable that the
door sets by whether the model is there; the document asks for it in `when`, and what is left out is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Literal

from app.errors import InvalidError, NotFoundError

LEFT_OUT: Final = "left_out"
"""The variable that tells a document's own texts what this installation leaves out."""

_PACKAGE: Final = "app.workflows.templates"
_SUFFIX: Final = ".json"
_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0", ""})


@dataclass(frozen=True, slots=True)
class TemplateVariable:
    """What a caller gives.

    Args:
        name: as the document's placeholders write it.
        description: a line for people.
        required: refused when it is missing or empty.
        type: `boolean` is read from texts too, as forms and n8n send them.
        default: what stands in for it.
    """

    name: str
    description: str
    required: bool = False
    type: Literal["any", "boolean"] = "any"
    default: Any = None


@dataclass(frozen=True, slots=True)
class OptionalPart:
    """What is only made where a model for it is there.

    Args:
        variable: set to whether it is.
        model: logical name.
        without: what is said when it is not.
        asked_by: a variable that says whether the part is wanted at all; empty when it always is.
    """

    variable: str
    model: str
    without: str
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class FilledTemplate:
    """A template with its variables: `degraded` says what is left out here, for people."""

    document: list[Any]
    variables: dict[str, Any]
    degraded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """One template.

    Args:
        name: what `POST /template/{name}` says.
        description: what it makes, for people.
        variables: what it takes.
        parts: what may be left out, in order; one may be asked for by an earlier one.
        workflow: the blocks, as any document has them.
    """

    name: str
    description: str
    variables: tuple[TemplateVariable, ...]
    parts: tuple[OptionalPart, ...]
    workflow: list[Any]

    @property
    def steps(self) -> int:
        """How many blocks follow each other."""
        return len(self.workflow)

    def fill(self, given: Mapping[str, Any], *, serves: Callable[[str], bool]) -> FilledTemplate:
        """Put a caller's variables to the document.

        Args:
            given: variables by name; others than the template's are passed on.
            serves: tells whether a model can do its work here.

        Raises:
            InvalidError: names every variable that is missing or cannot be read.
        """
        problems: dict[str, list[str]] = {}
        variables = dict(given)
        for variable in self.variables:
            try:
                variables[variable.name] = _read(variable, given.get(variable.name))
            except ValueError as error:
                problems[variable.name] = [str(error)]
        if problems:
            names = ", ".join(problems)
            raise InvalidError(f"The template {self.name} cannot do with this: {names}.", errors=problems)
        degraded = []
        for part in self.parts:
            variables[part.variable] = serves(part.model)
            wanted = not part.asked_by or variables[part.asked_by]
            if wanted and not variables[part.variable]:
                degraded.append(part.without)
        if self.parts:  # the others have nothing to leave out, and the name is the caller's
            variables[LEFT_OUT] = " ".join(degraded)
        return FilledTemplate(self.workflow, variables, tuple(degraded))

    def to_json(self) -> dict[str, Any]:
        """Describe it for a list."""
        return {
            "name": self.name,
            "description": self.description,
            "steps": self.steps,
            "variables": [
                {
                    "name": variable.name,
                    "description": variable.description,
                    "required": variable.required,
                    "default": variable.default,
                }
                for variable in self.variables
            ],
        }


class Templates:
    """All templates by name, in alphabetical order."""

    def __init__(self, templates: Iterable[Template]) -> None:
        self._templates = {template.name: template for template in sorted(templates, key=lambda one: one.name)}

    @property
    def all(self) -> tuple[Template, ...]:
        """Every template."""
        return tuple(self._templates.values())

    def find(self, name: str) -> Template:
        """Find one.

        Raises:
            NotFoundError: there is none of that name.
        """
        template = self._templates.get(name)
        if template is None:
            known = ", ".join(self._templates)
            raise NotFoundError(
                f"There is no template named {name[:64]!r}; there are {known}.", code="unknown_template"
            )
        return template


def parse_template(raw: Mapping[str, Any]) -> Template:
    """Read one document of the package.

    Raises:
        KeyError, TypeError: it is not written as a template is; only a mistake in the package can cause it.
    """
    return Template(
        name=raw["name"],
        description=raw["description"],
        variables=tuple(TemplateVariable(**variable) for variable in raw["variables"]),
        parts=tuple(OptionalPart(**part) for part in raw.get("parts", ())),
        workflow=raw["workflow"],
    )


def read_templates() -> Templates:
    """Read every template of the package."""
    files = (file for file in resources.files(_PACKAGE).iterdir() if file.name.endswith(_SUFFIX))
    return Templates(parse_template(json.loads(file.read_text(encoding="utf-8"))) for file in files)


def _read(variable: TemplateVariable, value: Any) -> Any:
    empty = value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})
    if empty and variable.required:
        raise ValueError(f"Is missing: {variable.description}")
    if empty:
        return variable.default
    return _flag(value) if variable.type == "boolean" else value


def _flag(value: Any) -> bool:
    said = str(value).strip().lower() if isinstance(value, bool | str | int | float) else "?"
    if said in _YES:
        return True
    if said in _NO:
        return False
    raise ValueError("Must be true or false.")
