"""Artifacts: texts in a folder, written whole or not at all, and read only when they are what was written."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from app.learning.ports import UnusableArtifactError

FOLDER = "artifacts"
MOST_BYTES = 512 * 1024 * 1024


class ArtifactFolder:
    """A folder of artifacts.

    Args:
        data_dir: the installation's data; the folder is made below it when something is written.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def write(self, name: str, text: str) -> str:
        """Write a text under a name.

        A reader sees the old file or the whole new one, also when the machine stops in between.

        Returns:
            The SHA-256 of its bytes, hex.
        """
        content = text.encode()
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return hashlib.sha256(content).hexdigest()

    def read(self, name: str, digest: str) -> str:
        """Read a text that has this digest.

        Raises:
            UnusableArtifactError: there is no such file, or it is not what was written.
        """
        path = self._path(name)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise UnusableArtifactError(f"The artifact {name} is larger than any of ours.")
            content = path.read_bytes()
        except OSError as error:
            raise UnusableArtifactError(f"The artifact {name} cannot be read: {error.strerror}.") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise UnusableArtifactError(f"The artifact {name} is not the file that was written.")
        return content.decode()

    def stamp(self, name: str) -> tuple[int, int] | None:
        """Give size and time of a file, to see whether it changed; None when it is gone."""
        try:
            found = self._path(name).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def _path(self, name: str) -> Path:
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise UnusableArtifactError(f"The artifact {name} is outside the artifacts folder.")
        return path
