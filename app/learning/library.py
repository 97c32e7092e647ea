"""Whether LightGBM can be loaded here, and what to do when it cannot.

Its wheel leaves OpenMP's runtime to the host: slim images and fresh macOS have none.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from pathlib import Path

NAMES = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")
FOLDERS = ("lib", "bin", ".")
_LINUX = "install libgomp (apt-get install libgomp1, dnf install libgomp, or apk add libgomp)"
_MACOS = "install OpenMP's runtime: brew install libomp"
_FREELY = "install it anew: pip install --force-reinstall lightgbm"

_loaded: list[ctypes.CDLL] = []  # kept: what has been loaded once need not be tried again


def library_problem() -> str | None:
    """Say why nothing can be learned here, and what to do; None when LightGBM can be loaded.

    Only its shared library is loaded, not its Python part: a process that never trains stays small.
    """
    if _loaded:
        return None
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        return "LightGBM is not installed: pip install lightgbm"
    path = _find(Path(next(iter(spec.submodule_search_locations))))
    if path is None:
        return f"LightGBM's library is missing: {_FREELY}"
    try:
        _loaded.append(ctypes.CDLL(str(path)))
    except OSError as error:
        return f"LightGBM cannot be loaded ({error}): {_remedy(str(error))}"
    return None


def _find(package: Path) -> Path | None:
    places = (package / folder / name for folder in FOLDERS for name in NAMES)
    return next((path for path in places if path.is_file()), None)


def _remedy(complaint: str) -> str:
    if not re.search(r"\blib[gi]?omp\b", complaint):
        return _FREELY
    return _MACOS if sys.platform == "darwin" else _LINUX
