"""Contents on disk, by hash, in two levels of folders; and the key of the installation.

A file appears whole or not at all: it is written beside its place, brought to the disk and then moved there.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.assets.model import is_hash
from app.errors import NotFoundError

FOLDER = "assets"
KEY_FILE = "assets.key"
KEY_BYTES = 32
OLD_S = 86_400.0


class AssetFiles:
    """The folder of contents.

    Args:
        data_dir: folders below it are made when they are needed, for this system's user alone.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def path_of(self, asset_hash: str) -> Path:
        """Say where a content lies; only a hash leads anywhere.

        Raises:
            NotFoundError: that is no hash.
        """
        if not is_hash(asset_hash):
            raise NotFoundError("There is no such asset.", code="asset_not_found")
        return self._folder / asset_hash[:2] / asset_hash[2:4] / asset_hash

    def write(self, asset_hash: str, content: bytes) -> None:
        """Put a content in its place; one that is there already stays."""
        path = self.path_of(asset_hash)
        if path.exists() and path.stat().st_size == len(content):
            os.utime(path)
            return
        _make_folders(path.parent, self._folder.parent)
        descriptor, beside = tempfile.mkstemp(prefix=".", dir=path.parent)  # made for its user alone
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(beside).unlink()
            raise

    def delete(self, asset_hash: str) -> None:
        """Remove a content; harmless where there is none."""
        self.path_of(asset_hash).unlink(missing_ok=True)

    def old(self) -> Iterator[str]:
        """List the hashes of files that are a day old or older; what was left half-written goes on the way."""
        for path in self._folder.glob("??/??/*") if self._folder.exists() else ():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime < OLD_S:
                    continue
                if is_hash(path.name):
                    yield path.name
                else:
                    path.unlink()


def read_key(data_dir: Path, setting: str) -> bytes:
    """Give the key that signs addresses: the setting, else the installation's own, made when it is first needed.

    Two processes that make it at once come to the same: the first to link its file wins.
    """
    if setting:
        return setting.encode()
    path = data_dir / KEY_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=".", dir=data_dir)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
        Path(beside).unlink()
    return path.read_bytes().strip()


def _make_folders(folder: Path, above: Path) -> None:
    if folder == above or folder.is_dir():
        return
    if folder.parent != above:
        _make_folders(folder.parent, above)
    else:
        above.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
