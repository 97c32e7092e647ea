"""What is written about the project is held to what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")),
]
HASHED = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def asked_for(path: str) -> set[str]:
    lines = (line.strip() for line in read(path).splitlines())
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


def locked(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", read(path), re.MULTILINE))


def test_every_dependency_has_its_reason_and_every_reason_its_dependency() -> None:
    explained: set[str] = set()
    for row in re.findall(r"^\| ([a-z0-9, -]+) \|", read("docs/dependencies.md"), re.MULTILINE):
        explained |= set(row.split(", "))
    named = asked_for("requirements/run.in") | asked_for("requirements/dev.in")
    assert named == explained - {"package"}


@pytest.mark.parametrize("lock", ["requirements/run.lock", "requirements/dev.lock"])
def test_every_locked_package_is_pinned_with_hashes_and_names_no_host(lock: str) -> None:
    text = read(lock)
    assert "://" not in text
    for block in re.split(r"\n(?=[a-z])", text):
        if "==" in block:
            assert HASHED.search(block), block.splitlines()[0]


def test_the_locks_hold_all_that_is_asked_for_at_one_version() -> None:
    run, dev = locked("requirements/run.lock"), locked("requirements/dev.lock")
    assert asked_for("requirements/run.in") <= run.keys()
    assert asked_for("requirements/dev.in") <= dev.keys()
    assert run.items() <= dev.items()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    text = read(page)
    named = set(re.findall(r"\]\((?!https?://|#)([^)#]+)", text))
    missing = {name for name in named if not ((ROOT / page).parent / name).exists()}
    if page == "docs/map.md":
        paths = re.findall(r"`((?:app|tasks|tests|migrations|simulator|bench|n8n|requirements)/[\w./]*)`", text)
        missing |= {path for path in paths if not (ROOT / path).exists()}
    assert not missing


def test_every_package_of_the_program_stands_on_the_map() -> None:
    text = read("docs/map.md")
    folders = {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")}
    assert {name for name in folders if f"`app/{name}/`" not in text} == set()


def test_every_target_that_a_page_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", read(page), re.MULTILINE)) <= targets
