"""What steps and doors ask of assets."""

from __future__ import annotations

import base64
import binascii
import re
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from app.assets.files import read_key
from app.assets.media import read_facts
from app.assets.model import MOST_BYTES, Asset, hash_of, is_hash, is_signed, signed_path
from app.errors import NotFoundError, TooLargeError, UnsupportedMediaError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from app.assets.files import AssetFiles
    from app.assets.store import PgAssets

_DATA_URI = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.*)", re.DOTALL)


class AssetService:
    """Keep, find, sign.

    Args:
        store: rows.
        files: contents.
        data_dir: where the installation's own key lies.
        secret: signs addresses in place of that key; empty for the key.
        public_url: stands before an asset's path; empty leaves the path alone.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: PgAssets,
        files: AssetFiles,
        data_dir: Path,
        *,
        secret: str = "",
        public_url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._files = files
        self._data_dir = data_dir
        self._secret = secret
        self._public_url = public_url.rstrip("/")
        self._clock = clock

    @cached_property
    def _key(self) -> bytes:
        return read_key(self._data_dir, self._secret)

    def keep(self, content: bytes, owner: str, holder: str) -> Asset:
        """Keep a content; the same one again is the same asset.

        Args:
            content: the whole file.
            owner: whose it is.
            holder: what refers to it, such as `run_holder(run_id)`; it stays as long as something does.

        Raises:
            TooLargeError: over `MOST_BYTES`.
            UnsupportedMediaError: of no kind that is kept, whatever it is called.
        """
        if len(content) > MOST_BYTES:
            raise TooLargeError(f"A file of {len(content)} bytes is too large; {MOST_BYTES} is the most.")
        facts = read_facts(content)
        if facts is None:
            raise UnsupportedMediaError("This is no PNG, JPEG, GIF, WebP, MP4 or WebM file.")
        asset = Asset(hash_of(content), owner, facts, len(content))
        self._store.keep(asset, content, holder)
        return asset

    def hold(self, hashes: Collection[str], owner: str, holder: str, connection: Connection | None = None) -> None:
        """Note that something refers to an owner's assets, so that they stay."""
        self._store.hold(hashes, owner, holder, connection)

    def find(self, asset_hash: str, owner: str | None) -> Asset:
        """Find an asset.

        Args:
            asset_hash: its name.
            owner: whose; None for whoever's.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        asset = self._store.find(asset_hash, owner) if is_hash(asset_hash) else None
        if asset is None or not self._files.path_of(asset_hash).is_file():
            raise NotFoundError("There is no such asset.", code="asset_not_found")
        return asset

    def path_of(self, asset: Asset) -> Path:
        """Say where an asset's content lies."""
        return self._files.path_of(asset.hash)

    def read(self, asset_hash: str, owner: str | None) -> tuple[Asset, bytes]:
        """Read an asset whole; errors as `find`."""
        asset = self.find(asset_hash, owner)
        return asset, self.path_of(asset).read_bytes()

    def data_uri(self, asset_hash: str, owner: str | None) -> str:
        """Write an asset as models are shown it; errors as `find`."""
        asset, content = self.read(asset_hash, owner)
        return f"data:{asset.media_type};base64,{base64.b64encode(content).decode()}"

    def tidy(self) -> int:
        """Let fall what nothing refers to; give how many files went, a day after they fell."""
        return self._store.tidy()

    def opens(self, asset_hash: str, expires: str, signature: str) -> bool:
        """Say whether a signed address opens an asset now."""
        return is_hash(asset_hash) and is_signed(self._key, asset_hash, expires, signature, self._clock())

    def address(self, asset_hash: str) -> str:
        """Write the address that opens an asset for seven days, without a token."""
        return self._public_url + signed_path(self._key, asset_hash, self._clock())

    def show(self, asset: Asset) -> dict[str, Any]:
        """Write an asset as a step's output has it, with an address that opens it."""
        return {**asset.to_json(), "url": self.address(asset.hash)}


def read_data_uri(uri: str) -> bytes:
    """Read the content of a data URI in base64.

    Raises:
        UnsupportedMediaError: it is none.
    """
    found = _DATA_URI.fullmatch(uri)
    if found is None:
        raise UnsupportedMediaError("That is no data URI in base64.")
    try:
        return base64.b64decode(found[2], validate=True)
    except binascii.Error as error:
        raise UnsupportedMediaError("The data URI's base64 is broken.") from error
