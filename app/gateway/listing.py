"""Say of each model who serves it now and at what price, for people and callers. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from app.gateway.prices import Prices
from app.gateway.registry import LogicalModel, Offer, Registry

SOON_DAYS = 30


@dataclass(frozen=True)
class ListedModel:
    """One logical model.

    Args:
        model: the registry's entry.
        offer: what a call would go to now; what it would go to if its provider were configured, where none is.
        available: whether a step can ask it, fallbacks included.
        stand_in: the model that would answer in its place; empty when it answers itself.
        missing: variables of which one must be set before anybody serves it; empty when somebody does.
        warnings: retirements, past and near, of what is configured.
    """

    model: LogicalModel
    offer: Offer
    available: bool
    stand_in: str
    missing: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Write it as `GET /models` shows it."""
        return {
            "name": self.model.name,
            "aliases": list(self.model.aliases),
            "provider": self.offer.provider,
            "model": self.offer.model,
            "purpose": self.model.purpose,
            "kind": self.model.kind,
            "prices": show_prices(self.offer.prices),
            "available": self.available,
            "stand_in": self.stand_in or None,
            "missing": list(self.missing),
            "retires_on": self.offer.retires_on.isoformat() if self.offer.retires_on else None,
            "warnings": list(self.warnings),
        }


def show_prices(prices: Prices) -> dict[str, float | None]:
    """Write prices: dollars a million tokens, or an image, or a second of film; null where it has no such price."""
    media = bool(prices.per_image or prices.per_second)
    rates = prices.rates
    tokens = {
        "in": rates.input,
        "out": rates.output,
        "cache_write_5m": rates.cache_write_5m,
        "cache_write_1h": rates.cache_write_1h,
        "cache_read": rates.cache_read,
    }
    shown: dict[str, float | None] = {name: None if media else float(rate) for name, rate in tokens.items()}
    if prices.per_image:
        shown["per_image"] = float(prices.per_image)
    if prices.per_second:
        shown["per_second"] = float(prices.per_second)
    return shown


@dataclass(frozen=True)
class Surroundings:
    """What an installation has.

    Args:
        providers: those that are configured.
        supported: those that could be.
        made: kinds of models that a step can ask here.
        today: offers that end on or before it serve no more.
    """

    providers: Collection[str]
    supported: Collection[str]
    made: Collection[str]
    today: dt.date


def list_models(registry: Registry, here: Surroundings) -> list[ListedModel]:
    """List the models that a document may name, in the registry's order."""
    named = registry.names
    return [_list_model(registry, model, here) for model in registry.models.values() if model.name in named]


def _list_model(registry: Registry, model: LogicalModel, here: Surroundings) -> ListedModel:
    targets = registry.route(model.name, here.providers, here.today).targets
    return ListedModel(
        model=model,
        offer=targets[0].offer if targets else _likeliest(model, here.today),
        available=bool(targets) and model.kind in here.made,
        stand_in=targets[0].logical.name if targets and targets[0].logical is not model else "",
        missing=() if targets else registry.missing_variables(model.name, here.providers, here.supported),
        warnings=_warnings(model, here.providers, here.today),
    )


def _likeliest(model: LogicalModel, today: dt.date) -> Offer:
    """Choose the offer that would serve first if its provider were configured."""
    return next((offer for offer in model.offers if not offer.retired(today)), model.offers[0]).priced(today)


def _warnings(model: LogicalModel, providers: Collection[str], today: dt.date) -> tuple[str, ...]:
    soon = today + dt.timedelta(days=SOON_DAYS)
    return tuple(
        f"{offer.model} of {offer.provider} {'retired' if offer.retired(today) else 'retires'} on {offer.retires_on}"
        for offer in model.offers
        if offer.provider in providers and offer.retires_on is not None and offer.retires_on <= soon
    )
