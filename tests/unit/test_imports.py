"""Who imports what: nothing leans on a package by luck, and every module has its place in the layers."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"app", "bench", "ml", "tasks", "beat_schedule", "migrations", "simulator", "tests"}
STUBS_ONLY = {"_typeshed"}
EXTRAS = {"matplotlib"}  # imported where a picture is asked for, and missed with a sentence


def sources(*places: str) -> Iterator[Path]:
    for place in places:
        path = ROOT / place
        yield from path.rglob("*.py") if path.is_dir() else [path]


def imported_by(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - OURS - STUBS_ONLY


def named_in(*files: str) -> set[str]:
    lines = [line.strip() for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return {plain(line) for line in lines if line and not line.startswith(("#", "-"))}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def distributions() -> dict[str, set[str]]:
    return {module: {plain(name) for name in names} for module, names in packages_distributions().items()}


@pytest.mark.parametrize(
    ("places", "files"),
    [
        (("app", "ml", "tasks", "migrations", "beat_schedule.py"), ("requirements/run.in",)),
        (("tests", "simulator"), ("requirements/run.in", "requirements/dev.in")),
    ],
    ids=["program", "tests"],
)
def test_every_package_that_is_imported_is_asked_for_by_name(places: tuple[str, ...], files: tuple[str, ...]) -> None:
    modules = {module for path in sources(*places) for module in imported_by(path)} - EXTRAS
    asked = named_in(*files)
    assert {module for module in modules if not distributions().get(module, set()) & asked} == set()


def test_every_part_of_the_program_has_its_place_in_the_layers() -> None:
    rules = configparser.ConfigParser()
    rules.read(ROOT / "setup.cfg", encoding="utf-8")
    placed = set(re.findall(r"app\.\w+", rules["importlinter:contract:layers"]["layers"]))
    there = {path.parent if path.name == "__init__.py" else path for path in (ROOT / "app").glob("*.py")}
    there |= {path.parent for path in (ROOT / "app").glob("*/__init__.py")}
    assert {f"app.{path.stem}" for path in there - {ROOT / "app"}} - placed == set()
