"""Assets as steps and models see them: on the worker's loop, patient while the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.assets.model import REFERENCE, Asset
from app.assets.service import read_data_uri
from app.errors import FatalError, LogicalError, NotFoundError, RequestError, TooLargeError
from app.gateway.media_model import Picture
from app.gateway.model import Blame

if TYPE_CHECKING:
    from app.assets.service import AssetService
    from app.gateway.model import ChatAnswer, ChatRequest
    from app.gateway.ports import ChatProvider, OnText

logger = logging.getLogger(__name__)

AWAY = (OperationalError, InterfaceError, PoolTimeoutError)
AWAY_S = 1.0
MOST_PICTURE_BYTES = 20 * 1024 * 1024
"""Of an image that a model is shown; the vendors take hardly more in one request."""
Given = TypeVar("Given")


class AssetShelf:
    """Implements the gateway's `AssetShelf`, and what model steps need.

    Args:
        assets: the service; its work is done in threads.
    """

    def __init__(self, assets: AssetService) -> None:
        self._assets = assets

    async def keep(self, content: bytes, owner: str, holder: str) -> dict[str, Any]:
        """Keep what a vendor made; it was paid for, so a database that is away is waited for."""
        try:
            asset: Asset = await _patiently(self._assets.keep, content, owner, holder)
        except RequestError as error:
            raise LogicalError(f"What came cannot be kept: {error}", code="unusable_answer") from error
        return asset.to_json()

    def address(self, asset_hash: str) -> str:
        """Write an address that opens an asset for seven days."""
        return self._assets.address(asset_hash)

    async def refer(self, images: Iterable[str], owner: str, holder: str) -> None:
        """Check that every asset among some images is an image of this owner's, and keep it as long as the holder.

        Raises:
            FatalError: one is not.
        """
        hashes = [image.removeprefix(REFERENCE) for image in images if image.startswith(REFERENCE)]
        for asset_hash in hashes:
            asset = await self._find(asset_hash, owner)
            if not asset.is_image:
                raise FatalError(f"The asset {asset_hash[:12]} is no image.", code="image_invalid")
        if hashes:
            await _patiently(self._assets.hold, hashes, owner, holder)

    async def picture(self, reference: str) -> Picture:
        """Read an image from a data URI or a reference; whose it is was checked when the step began."""
        try:
            if reference.startswith(REFERENCE):
                found: tuple[Asset, bytes] = await _patiently(
                    self._assets.read, reference.removeprefix(REFERENCE), None
                )
                picture = Picture(found[0].media_type, found[1])
            else:
                picture = Picture(_type_of(reference), await asyncio.to_thread(read_data_uri, reference))
        except RequestError as error:
            raise FatalError(f"An image cannot be shown: {error}", code="image_invalid") from error
        size = len(picture.content)
        if size > MOST_PICTURE_BYTES:
            raise FatalError(f"An image of {size} bytes is too large to be shown.", code="image_invalid")
        return picture

    async def shown(self, reference: str) -> str:
        """Write an asset as a data URI, for a model that looks at it."""
        try:
            uri: str = await _patiently(self._assets.data_uri, reference.removeprefix(REFERENCE), None)
        except (NotFoundError, TooLargeError) as error:
            # Said before the vendor is asked: it is not charged for, and counts against no model.
            gone = "An image that was to be shown is gone."
            raise FatalError(gone, code="image_invalid", sent=False, blame=Blame.UNSENT) from error
        return uri

    async def _find(self, asset_hash: str, owner: str) -> Asset:
        try:
            asset: Asset = await _patiently(self._assets.find, asset_hash, owner)
        except NotFoundError as error:
            raise FatalError(f"There is no asset {asset_hash[:12]}.", code="image_invalid") from error
        return asset


class ShowingProvider:
    """A provider that is shown assets: the ledger keeps their names, the vendor gets their bytes.

    Args:
        inner: the provider.
        shelf: where assets are.
    """

    def __init__(self, inner: ChatProvider, shelf: AssetShelf) -> None:
        self._inner = inner
        self._shelf = shelf
        self.name = inner.name

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        """Send one request, once; errors as the provider's, and `image_invalid` for an asset that is gone."""
        if any(_refers(message) for message in request.messages):
            request = replace(request, messages=tuple([await self._show(message) for message in request.messages]))
        return await self._inner.complete(request, on_text)

    async def _show(self, message: Any) -> Any:
        if not _refers(message):
            return message
        parts = [
            {**part, "url": await self._shelf.shown(part["url"])} if _is_reference(part) else part
            for part in message["content"]
        ]
        return {**message, "content": parts}

    async def close(self) -> None:
        """Give connections back."""
        await self._inner.close()


def _refers(message: Any) -> bool:
    content = message.get("content")
    return isinstance(content, list | tuple) and any(map(_is_reference, content))


def _is_reference(part: Any) -> bool:
    return part.get("type") == "image" and str(part.get("url")).startswith(REFERENCE)


def _type_of(uri: str) -> str:
    return uri[5 : uri.find(";")]


async def _patiently(work: Callable[..., Given], *given: Any) -> Given:
    while True:
        try:
            return await asyncio.to_thread(work, *given)
        except AWAY as error:
            logger.warning("assets wait for the database: %s", type(error).__name__)
            await asyncio.sleep(AWAY_S)
