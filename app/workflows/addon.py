"""Addons: a craft's instructions that a model step can name, put behind its system prompt.

Their texts are data of the package, read once by the composition root. No variable is ever put into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from app.errors import FatalError, NotFoundError

GROUPS: Final = ("Content", "Marketing", "Social", "Business", "Professional")
"""The users' groups, in their order; addons of any other group work too and are not counted."""

_PACKAGE: Final = "app.workflows.addons"
_SUFFIX: Final = ".md"
_FILE: Final = re.compile(
    r"# (?P<name>\w+)\n\nGroup: (?P<group>.+)\nPurpose: (?P<purpose>.+)\n\n(?P<lines>(?:- .+\n)+)"
)


class AddonFileError(ValueError):
    """A file that is not written as an addon is; only a mistake in the package can cause it."""


@dataclass(frozen=True, slots=True)
class Addon:
    """One craft.

    Args:
        name: what `config.addons` lists.
        group: the heading it is listed under.
        purpose: a line for people.
        instructions: what the model is told, in order.
    """

    name: str
    group: str
    purpose: str
    instructions: tuple[str, ...]

    @property
    def counted(self) -> bool:
        """Whether it is one of the users' fifty."""
        return self.group in GROUPS

    def section(self) -> str:
        """Write it as a labelled section of a system prompt; the same bytes every time, so that caches hold it."""
        lines = "\n".join(f"- {line}" for line in self.instructions)
        return f"## {self.name}: {self.purpose}\n{lines}"


class Addons:
    """All addons by name.

    Args:
        addons: in any order; names are unique.
    """

    def __init__(self, addons: Iterable[Addon]) -> None:
        self._addons: Mapping[str, Addon] = {addon.name: addon for addon in sorted(addons, key=_place)}

    @property
    def names(self) -> frozenset[str]:
        """Every name a document may use."""
        return frozenset(self._addons)

    @property
    def counted(self) -> tuple[str, ...]:
        """The users' own, group by group."""
        return tuple(name for name, addon in self._addons.items() if addon.counted)

    def find(self, name: str) -> Addon:
        """Find one.

        Raises:
            NotFoundError: there is none of that name.
        """
        addon = self._addons.get(name)
        if addon is None:
            raise NotFoundError(f"There is no addon named {name[:64]!r}; GET /addons lists them.", code="unknown_addon")
        return addon

    def sections(self, names: Iterable[str]) -> str:
        """Write the sections of a task's addons, in its order, each once; empty for none.

        Raises:
            FatalError: a stored document names one that this version no longer has.
        """
        wanted = tuple(dict.fromkeys(names))
        unknown = [name for name in wanted if name not in self._addons]
        if unknown:
            raise FatalError(f"There is no addon named {unknown[0][:64]!r} any more.", code="unknown_addon")
        return "\n\n".join(self._addons[name].section() for name in wanted)


def parse_addon(text: str) -> Addon:
    """Read one file.

    Raises:
        AddonFileError: it is not a name, a group, a purpose and a list.
    """
    match = _FILE.fullmatch(text)
    if match is None:
        raise AddonFileError(f"Not an addon: {text[:80]!r}")
    lines = tuple(line.removeprefix("- ") for line in match["lines"].splitlines())
    return Addon(match["name"], match["group"], match["purpose"], lines)


def read_addons() -> Addons:
    """Read every addon of the package."""
    files = (file for file in resources.files(_PACKAGE).iterdir() if file.name.endswith(_SUFFIX))
    return Addons(parse_addon(file.read_text(encoding="utf-8")) for file in files)


def _place(addon: Addon) -> tuple[int, str]:
    return (GROUPS.index(addon.group) if addon.counted else len(GROUPS), addon.name)
