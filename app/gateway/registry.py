"""The models by logical name: who serves each, at what price, and who steps in. Pure; a file is read elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from app.errors import NotFoundError
from app.gateway.model import ChatAnswer, ChatRequest
from app.gateway.prices import Prices, cost_usd

Kind = Literal["chat", "image", "video", "embedding"]


@dataclass(frozen=True)
class Offer:
    """One provider's way to serve a logical model.

    Args:
        provider: name in `providers`.
        model: the vendor's id.
        prices: dollars.
        context: most tokens of prompt and answer together.
        retires_on: the day it ends; None when none is known.
        sampling: whether temperature and top_p may be sent.
        max_tokens_field: what the wire calls the limit of output.
        extra: wire parameters sent as they are.
        extra_with_tools: the same, in place of those in `extra`, where the model may ask for tools.
        cache_marks: the vendor keeps in its cache what is marked, and nothing else.
        hosts: further hosts from which what it made is fetched.
        later_prices: those that follow, by the day from which they hold, earliest first.
    """

    provider: str
    model: str
    prices: Prices
    context: int
    retires_on: dt.date | None = None
    sampling: bool = True
    max_tokens_field: str = "max_tokens"
    extra: Mapping[str, Any] = field(default_factory=dict)
    extra_with_tools: Mapping[str, Any] = field(default_factory=dict)
    cache_marks: bool = False
    hosts: tuple[str, ...] = ()
    later_prices: tuple[tuple[dt.date, Prices], ...] = ()

    def retired(self, today: dt.date) -> bool:
        """Say whether its day has come."""
        return self.retires_on is not None and today >= self.retires_on

    def priced(self, today: dt.date) -> Offer:
        """Give the offer with the prices of a day."""
        holding = [prices for first_day, prices in self.later_prices if today >= first_day]
        return replace(self, prices=holding[-1], later_prices=()) if holding else self


@dataclass(frozen=True)
class LogicalModel:
    """What documents name. `offers` stand in order of preference; defaults serve where a task's config is silent.

    `system_prompt` comes first in every question that a step asks it; empty for none.
    """

    name: str
    kind: Kind
    purpose: str
    offers: tuple[Offer, ...]
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    max_tokens: int = 2000
    temperature: float | None = None
    top_p: float | None = None
    system_prompt: str = ""


@dataclass(frozen=True)
class Provider:
    """A vendor as the registry knows it.

    Args:
        name: used by offers, limits and breakers.
        variables: environment variables of which one makes it available; for people's eyes, values never come here.
    """

    name: str
    variables: tuple[str, ...]


@dataclass(frozen=True)
class RateLimit:
    """A provider's rate; 0 a minute is no limit. At most `burst` requests go at once."""

    requests_per_minute: int = 0
    burst: int = 10
    tokens_per_minute: int = 0

    @property
    def limited(self) -> bool:
        """Whether there is anything to keep to."""
        return self.requests_per_minute > 0 or self.tokens_per_minute > 0

    def overridden(self, requests: int | None, tokens: int | None) -> RateLimit:
        """Put other numbers in place of these; None leaves one."""
        return RateLimit(
            self.requests_per_minute if requests is None else requests,
            self.burst,
            self.tokens_per_minute if tokens is None else tokens,
        )


@dataclass(frozen=True)
class ErrorHandling:
    """Tries by error class, the waits between them, and when a breaker opens."""

    tries: Mapping[str, int]
    base_s: float = 1.0
    factor: float = 2.0
    most_s: float = 30.0
    breaker_failures: int = 5
    breaker_open_s: float = 60.0


@dataclass(frozen=True)
class Target:
    """One place to send a call to."""

    logical: LogicalModel
    offer: Offer


@dataclass(frozen=True)
class Route:
    """Where a call may go, best first, and what a person should know about it."""

    targets: tuple[Target, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """Everything `orchestration_config.json` says about models. Made by `load_registry`, which checks it."""

    version: str
    models: Mapping[str, LogicalModel]
    providers: Mapping[str, Provider]
    rate_limits: Mapping[str, RateLimit]
    errors: ErrorHandling

    @property
    def names(self) -> frozenset[str]:
        """Logical names and aliases that a document may write; embeddings are no answer that a step could give."""
        answering = [model for model in self.models.values() if model.kind != "embedding"]
        return frozenset(name for model in answering for name in (model.name, *model.aliases))

    def find(self, name: str) -> LogicalModel:
        """Find a model by its name or an alias.

        Raises:
            NotFoundError: nobody is called that.
        """
        found = self.models.get(name) or next((model for model in self.models.values() if name in model.aliases), None)
        if found is None:
            raise NotFoundError(f"There is no model named {name!r}; the registry has {', '.join(sorted(self.names))}.")
        return found

    def batch_cost(self, name: str, request: ChatRequest, answer: ChatAnswer, today: dt.date) -> Decimal | None:
        """Say what an answer of a vendor's batch cost, in dollars; None for what is not offered any more."""
        model = self.models.get(name)
        for offer in model.offers if model is not None else ():
            if (offer.provider, offer.model) == (request.provider, request.model):
                prices = offer.priced(today).prices
                return cost_usd(prices, answer.usage, part=prices.batch_factor)
        return None

    def route(
        self, name: str, providers: Collection[str], today: dt.date, fallback: tuple[str, ...] | None = None
    ) -> Route:
        """List where a call may go.

        A model's own offers come first, then its fallbacks', each model once however the fallbacks point at each other.

        Args:
            name: logical name or alias.
            providers: those that are configured.
            today: offers that end on or before it are left out, with a warning.
            fallback: goes in place of the registry's fallbacks of this model, whole.

        Returns:
            No targets when no provider of any of them is configured.
        """
        targets: list[Target] = []
        warnings: list[str] = []
        first = self.find(name)
        for model in self._chain(first, fallback):
            if model.kind != first.kind:
                warnings.append(
                    f"{model.name} makes another kind of thing than {first.name} and cannot stand in for it"
                )
                continue
            for offer in model.offers:
                if offer.provider not in providers:
                    continue
                if offer.retired(today):
                    warnings.append(f"{offer.model} of {offer.provider} ({model.name}) retired on {offer.retires_on}")
                    continue
                targets.append(Target(model, offer.priced(today)))
        return Route(tuple(targets), tuple(warnings))

    def _chain(self, first: LogicalModel, fallback: tuple[str, ...] | None) -> Iterator[LogicalModel]:
        """Walk depth first, so that a fallback's own fallbacks come before the next one; each model once."""
        seen: set[str] = set()
        stack = [first]
        while stack:
            model = stack.pop()
            if model.name in seen:
                continue
            seen.add(model.name)
            yield model
            if fallback is None:
                stack.extend(self.find(name) for name in reversed(model.fallbacks))
            elif model is first:
                stack.extend(self.find(name) for name in reversed(fallback))

    def missing_variables(self, name: str, providers: Collection[str], supported: Collection[str]) -> tuple[str, ...]:
        """Name the variables of which one must be set before a model can serve; empty when it can.

        Args:
            name: logical name or alias.
            providers: those that are configured.
            supported: those that could be; variables of others are named only when nothing else would help.
        """
        model = self.find(name)
        offers = [offer for one in self._chain(model, None) if one.kind == model.kind for offer in one.offers]
        if any(offer.provider in providers for offer in offers):
            return ()
        helpful = [offer for offer in offers if offer.provider in supported] or offers
        names = (variable for offer in helpful for variable in self.providers[offer.provider].variables)
        return tuple(dict.fromkeys(names))

    def retirements(self, today: dt.date, providers: Collection[str], *, within_days: int = 30) -> list[str]:
        """List the offers of some providers that are retired or soon will be, for people."""
        soon = today + dt.timedelta(days=within_days)
        return [
            f"{offer.model} of {offer.provider} ({model.name}) "
            f"{'retired' if offer.retired(today) else 'retires'} on {offer.retires_on}"
            for model in self.models.values()
            for offer in model.offers
            if offer.provider in providers and offer.retires_on is not None and offer.retires_on <= soon
        ]
