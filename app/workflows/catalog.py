"""The names a document may use, as the installation knows them at this moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Catalog:
    """What can be named in a task.

    Args:
        models: logical names and their aliases.
        agents: registered agents.
        tools: registered tools.
        addons: system-prompt addons, counted and uncounted ones.
    """

    models: frozenset[str]
    agents: frozenset[str]
    tools: frozenset[str]
    addons: frozenset[str]
