"""What assets need from outside."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from app.assets.model import Asset, Facts


class AssetIndex(Protocol):
    """Knows whose which content is, and what refers to it."""

    def keep(self, asset: Asset, content: bytes, holder: str) -> None:
        """Write content and row, and note what refers to it, so that none of them is there without the others."""

    def hold(self, hashes: Collection[str], owner: str, holder: str) -> None:
        """Note that something refers to assets of an owner's; those it has not are passed over."""

    def find(self, asset_hash: str, owner: str | None) -> Asset | None:
        """Find an asset of an owner's; None for whoever's."""

    def tidy(self) -> int:
        """Let fall what nothing refers to, delete files a day after; give how many files went."""


class FactReader(Protocol):
    """Reads what a file is from its bytes."""

    def __call__(self, content: bytes) -> Facts | None:
        """Read it; None for a kind that is not kept."""
