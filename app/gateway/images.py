"""One image under way: reserved at its price, its file kept before the ledger says that it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from app.errors import LogicalError, PersistentError
from app.gateway.media_config import ImageWishes
from app.gateway.media_model import ImageAnswer, ImageRequest, MediaCall, Picture
from app.gateway.media_ports import AssetShelf, JobLedger, MediaProvider
from app.gateway.prices import piece_cost
from app.gateway.registry import Target
from app.gateway.sending import Doors, PassedOver, Sender

LARGE = frozenset({"4K", "4k"})
"""Sizes that cost more than others everywhere: they are only asked for where the registry says how much."""
Wishes = TypeVar("Wishes")
REFUSAL = "refusal"
ASSET = "asset"


@dataclass(frozen=True)
class MediaParts:
    """Where wishes go.

    Args:
        makers: the vendors that are configured and make images or film, by their names in the registry.
        doors: the gate, and the version of the prices.
        shelf: keeps what is made.
        poll_s: seconds between two looks at a film under way.
        most_s: seconds after which a film is given up.
    """

    makers: Mapping[str, MediaProvider]
    doors: Doors
    shelf: AssetShelf
    poll_s: float = 10.0
    most_s: float = 3600.0


class MediaExchange(Generic[Wishes]):
    """One image or film under way.

    Args:
        call: what is wished for.
        wishes: its config.
        pictures: to begin from.
        ledger: of this try of the step, for this one alone.
        parts: vendors, gate and shelf.
    """

    def __init__(
        self,
        call: MediaCall,
        wishes: Wishes,
        pictures: tuple[Picture, ...],
        ledger: JobLedger,
        parts: MediaParts,
    ) -> None:
        self._call = call
        self._wishes = wishes
        self._pictures = pictures
        self._ledger = ledger
        self._parts = parts
        self._sender = Sender(ledger, parts.doors)


class ImageExchange(MediaExchange[ImageWishes]):
    """Ask for one image along a route; it lives as long as the wish."""

    async def replay(self) -> dict[str, Any] | None:
        """Use the image that an earlier try of the step was given; None when there is none."""
        while (stored := await self._ledger.stored()) is not None:
            found = read_stored(stored.answer or {})
            if found is not None:
                return found
            self._sender.refuse(str(stored.request.get("provider")), str(stored.request.get("model")))
        return None

    async def ask(self, target: Target) -> dict[str, Any] | PassedOver:
        """Ask one target.

        Returns:
            The asset, or why another target should be asked.

        Raises:
            StepParked: `rate` or `budget`.
            StepError: one that may pass.
        """
        offer, size = target.offer, self._wishes.size
        unfit = refuse_size(target, size)
        if unfit is not None or self._sender.refused(target):
            return unfit or PassedOver(PersistentError(f"{offer.model} does not make this image.", code="refused"))
        request = self._request(target)
        cost = piece_cost(offer.prices.per_image, offer.prices, size)
        worst = cost.worst(request.prompt)
        sending = await self._sender.admit(target, worst)
        if isinstance(sending, PassedOver):
            return sending
        reserved = await self._sender.reserve(sending, target, self._written(target, request), worst)
        found = read_stored(reserved.answer or {})
        if found is not None:
            return found
        answer = await self._sender.send(
            sending, reserved.ordinal, self._parts.makers[offer.provider].make_image(request)
        )
        if isinstance(answer, PassedOver):
            return answer
        asset, refusal = await self._keep(answer)
        facts = {ASSET: asset} if asset else {REFUSAL: refusal}
        response = {**facts, "model": answer.model, "vendor_id": answer.vendor_id, "usage": answer.usage.to_json()}
        # What was withheld is not charged; what cannot be read was made.
        paid = cost.dollars if answer.content else Decimal(0)
        await self._sender.settle(sending, reserved.ordinal, response, answer.usage, paid)
        if asset:
            return asset
        await self._ledger.reject(reserved.ordinal, refusal)
        self._sender.refuse(offer.provider, offer.model)
        return PassedOver(PersistentError(f"{target.logical.name} does not make this image: {refusal}", code="refused"))

    async def _keep(self, answer: ImageAnswer) -> tuple[dict[str, Any], str]:
        """Keep the file; say why not where it cannot be."""
        if answer.refusal:
            return {}, answer.refusal
        try:
            return await self._parts.shelf.keep(answer.content, self._call.owner, self._call.holder), ""
        except LogicalError as error:
            return {}, str(error)

    def _request(self, target: Target) -> ImageRequest:
        offer, wishes = target.offer, self._wishes
        return ImageRequest(
            provider=offer.provider,
            model=offer.model,
            prompt=wishes.prompt(self._call.prompt),
            aspect_ratio=wishes.aspect_ratio,
            size=wishes.size,
            safety=wishes.safety,
            pictures=self._pictures,
            extra=offer.extra,
            timeout_s=self._call.timeout_s,
        )

    def _written(self, target: Target, request: ImageRequest) -> dict[str, Any]:
        """Write a request for the ledger: pictures by their names, not their bytes."""
        shown = {**vars(request), "pictures": [name_picture(image) for image in self._call.images]}
        return {**shown, "logical": target.logical.name}


def read_stored(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the asset of a stored answer; None for a refusal."""
    asset = answer.get(ASSET)
    return dict(asset) if asset else None


def refuse_size(target: Target, size: str | None) -> PassedOver | None:
    """Pass a target over that has no price for so large a thing."""
    if size not in LARGE or size in target.offer.prices.sizes:
        return None
    message = f"{target.logical.name} has no price for {size} with {target.offer.provider}: ask for a smaller one."
    return PassedOver(PersistentError(message, code="config_unsupported"))


def name_picture(image: str) -> str:
    """Name an image that a request began from, for the ledger."""
    return image if not image.startswith("data:") else f"{image[:32]}… ({len(image)} characters)"
