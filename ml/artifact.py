"""Save and read scorers as text.

One line of format and checksum, then JSON: arrays as base64 of little-endian numbers, trees in LightGBM's own text.
Nothing in it can run: a foreign file can at worst be refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ml.errors import ArtifactError
from ml.frame import Array

FORMAT = "batuta-scorer"
FORMAT_VERSION = 1


def write(path: str | Path, content: dict[str, Any]) -> None:
    """Write an artifact whole or not at all: to a file beside it, then in its place."""
    target = Path(path)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "checksum": _checksum(text)}
    beside = target.with_name(f"{target.name}.{os.getpid()}.part")
    beside.write_text(f"{json.dumps(head, sort_keys=True)}\n{text}\n", encoding="utf-8")
    beside.replace(target)


def read(path: str | Path) -> dict[str, Any]:
    """Read an artifact.

    Raises:
        ArtifactError: missing, unreadable, changed since it was written, or not one of ours.
    """
    name = Path(path).name
    try:
        head_line, _, text = Path(path).read_text(encoding="utf-8").partition("\n")
        head = json.loads(head_line)
    except FileNotFoundError as error:
        raise ArtifactError(f"there is no scorer {name}") from error
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ArtifactError(f"{name} is not a scorer: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ArtifactError(f"{name} is not a scorer of ours")
    if head.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(f"{name} has format {head.get('format_version')}, this program reads {FORMAT_VERSION}")
    text = text.rstrip("\n")
    if head.get("checksum") != _checksum(text):
        raise ArtifactError(f"{name} is broken: its content does not match its checksum")
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ArtifactError(f"{name} holds no scorer")
    return content


def read_kind(path: str | Path, kind: str) -> dict[str, Any]:
    """Read an artifact of one kind of scorer.

    Raises:
        ArtifactError: as `read` does, or another kind's.
    """
    content = read(path)
    if content.get("kind") != kind:
        raise ArtifactError(f"{Path(path).name} holds a scorer of kind {content.get('kind')!r}, not a {kind}")
    return content


def pack(array: Array) -> dict[str, Any]:
    """Write an array as JSON, in single precision: far more exact than what was learned."""
    data = np.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(data.shape), "f4": base64.b64encode(data.tobytes()).decode("ascii")}


def unpack(value: dict[str, Any]) -> Array:
    """Read what `pack` wrote, in double precision."""
    try:
        flat = np.frombuffer(base64.b64decode(value["f4"], validate=True), dtype="<f4")
        return flat.reshape(value["shape"]).astype(np.float64)
    except (KeyError, ValueError, TypeError, binascii.Error) as error:
        raise ArtifactError(f"an array cannot be read: {error}") from error


def _checksum(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()
