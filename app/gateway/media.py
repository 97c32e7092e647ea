"""Make images and film by a model's logical name: the ledger, the gate and the fallbacks are those of all calls."""

from __future__ import annotations

from typing import Any

from app.errors import FatalError
from app.gateway.films import FilmExchange
from app.gateway.images import ImageExchange, MediaParts
from app.gateway.media_config import read_film_wishes, read_image_wishes
from app.gateway.media_model import MediaAnswer, MediaCall, Picture
from app.gateway.media_ports import JobLedger
from app.gateway.registry import Registry
from app.gateway.service import Gateway

LONGEST_PROMPT = 20_000
"""Characters; a vendor takes some 8000 tokens."""


class MediaGateway:
    """The way to every model that makes images or film.

    Args:
        gateway: knows routes and follows them.
        registry: the models.
        parts: vendors, gate and shelf.
    """

    def __init__(self, gateway: Gateway, registry: Registry, parts: MediaParts) -> None:
        self._gateway = gateway
        self._registry = registry
        self._parts = parts

    def kind_of(self, model: str) -> str:
        """Say what a model makes, by its name or an alias."""
        return self._registry.find(model).kind

    async def make_images(self, call: MediaCall, ledger: JobLedger) -> MediaAnswer:
        """Make as many images as the config wishes, one after another: each is a call of its own in the ledger.

        Raises:
            StepParked: `rate`, `breaker` or `budget`; what was made already is found again.
            StepError: as the gateway's.
        """
        wishes = read_image_wishes(call.config)
        pictures = await self._begin(call)
        made: list[dict[str, Any]] = []
        for part in range(wishes.count):
            exchange = ImageExchange(call, wishes, pictures, ledger.for_part(part), self._parts)
            asset = await exchange.replay()
            if asset is None:
                route = self._gateway.route(call.model, "image", self._parts.makers, call.fallback)
                asset = await self._gateway.follow(route, exchange.ask)
            made.append(asset)
        return self._answer(made, self._registry.find(call.model).name)

    async def make_film(self, call: MediaCall, ledger: JobLedger) -> MediaAnswer:
        """Make a film; the step is parked while a vendor is at it.

        Raises:
            StepParked: `job`, and as `make_images`.
            StepError: `film_unheard` among others; as the gateway's.
        """
        wishes = read_film_wishes(call.config)
        exchange = FilmExchange(call, wishes, await self._begin(call), ledger, self._parts)
        found = await exchange.resume()
        if found is None:
            route = self._gateway.route(call.model, "video", self._parts.makers, call.fallback)
            await self._gateway.follow(route, exchange.ask)
            raise FatalError("An order for a film neither parks nor fails.", code="internal")
        asset, request = found
        return self._answer([asset], str(request.get("logical") or call.model))

    async def _begin(self, call: MediaCall) -> tuple[Picture, ...]:
        if len(call.prompt) > LONGEST_PROMPT:
            message = (
                f"A prompt of {len(call.prompt)} characters is too long for images and film; {LONGEST_PROMPT} fit."
            )
            raise FatalError(message, code="prompt_too_long")
        return tuple([await self._parts.shelf.picture(image) for image in call.images])

    def _answer(self, made: list[dict[str, Any]], model: str) -> MediaAnswer:
        shown = [{**asset, "url": self._parts.shelf.address(str(asset["hash"]))} for asset in made]
        return MediaAnswer(tuple(shown), model)
