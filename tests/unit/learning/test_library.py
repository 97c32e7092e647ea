"""A host on which LightGBM cannot be loaded, and what it is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.commands.doctor import examine
from app.learning import library
from app.settings import Settings


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a LightGBM first whose shared library no loader takes; returns its file."""
    file = tmp_path / "lightgbm" / "lib" / "lib_lightgbm.so"
    file.parent.mkdir(parents=True)
    (tmp_path / "lightgbm" / "__init__.py").touch()
    file.write_text("no library")
    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    monkeypatch.setattr(library, "_loaded", [])
    monkeypatch.syspath_prepend(tmp_path)
    return file


def test_where_it_can_be_loaded_there_is_no_problem() -> None:
    assert library.library_problem() is None


def test_a_library_that_no_loader_takes_is_said_with_what_to_do(broken: Path) -> None:
    problem = library.library_problem()
    assert problem is not None
    assert problem.startswith("LightGBM cannot be loaded (")
    assert problem.endswith("install it anew: pip install --force-reinstall lightgbm")


def test_a_missing_library_is_said(broken: Path) -> None:
    broken.unlink()
    assert library.library_problem() == f"LightGBM's library is missing: {library._FREELY}"


@pytest.mark.parametrize(
    ("complaint", "platform", "remedy"),
    [
        (
            "libgomp.so.1: cannot open shared object file: No such file or directory",
            "linux",
            "apt-get install libgomp1",
        ),
        ("dlopen(lib_lightgbm.dylib): Library not loaded: @rpath/libomp.dylib", "darwin", "brew install libomp"),
        ("/home/romp/lib_lightgbm.so: invalid ELF header", "linux", "pip install --force-reinstall lightgbm"),
    ],
)
def test_the_remedy_is_the_hosts(monkeypatch: pytest.MonkeyPatch, complaint: str, platform: str, remedy: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert remedy in library._remedy(complaint)


def test_the_doctor_says_that_nothing_can_be_learned_and_why(broken: Path, tmp_path: Path) -> None:
    environ = {"DATA_DIR": str(tmp_path), "PORT": "1", "DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}
    [finding] = [one for one in examine(Settings.from_env(environ)) if one.what == "learning"]
    assert (finding.state, finding.needed) == ("away", False)
    assert str(broken) in finding.note
    assert "pip install --force-reinstall lightgbm" in finding.note
