"""Read `orchestration_config.json` into a `Registry`, and say everything that is wrong with it at once."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast, get_args

from app.errors import SettingsError
from app.gateway.prices import Prices, Rates
from app.gateway.registry import ErrorHandling, Kind, LogicalModel, Offer, Provider, RateLimit, Registry

RATE_KEYS = {
    "in": "input",
    "out": "output",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "cache_read": "cache_read",
}
KINDS = get_args(Kind)
RATE_WORDS = {
    "requests_per_minute": ("requests_per_minute", "requestsPerMinute", "rpm"),
    "tokens_per_minute": ("tokens_per_minute", "tokensPerMinute", "tpm"),
    "burst": ("burst", "burst_size", "burstSize"),
}
"""Spellings that files of this kind are written in."""
BATCH_FACTOR = Decimal("0.5")
"""What Anthropic and OpenAI charge for what a batch answers, November 2026."""

LEAST_CONTEXT = 8192  # tokens of a model of which nothing is known
NO_PRICES = Prices(Rates())

TRIES = {"transient": 5, "resource": 2, "logical": 3, "persistent": 1, "fatal": 0}
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,}")


def read_registry(path: Path) -> Registry:
    """Read and check the file.

    Raises:
        SettingsError: it is missing, is not JSON, or is wrong; lists every place.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise SettingsError([f"ORCHESTRATION_CONFIG={str(path)!r}: cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise SettingsError([f"ORCHESTRATION_CONFIG={str(path)!r}: is not JSON: {error}"]) from error
    return load_registry(document)


def load_registry(document: Any) -> Registry:
    """Check a document and make the registry of it. Sections and keys that are not ours are left alone.

    Raises:
        SettingsError: lists every problem with its place, such as `models.fast_ai.offers[0].prices.in`.
    """
    reader = _Reader()
    root = reader.mapping(document, "the file")
    providers = {
        name: Provider(name, reader.variables(value, f"api_keys.{name}"))
        for name, value in reader.mapping(root.get("api_keys"), "api_keys").items()
    }
    reader.vendor_models(root.get("vendor_models", {}), providers)
    models = {
        name: reader.model(name, reader.mapping(raw, f"models.{name}"), providers)
        for name, raw in reader.mapping(root.get("models"), "models").items()
    }
    registry = Registry(
        version=str(reader.mapping(root.get("system", {}), "system").get("version", "1")),
        models=models,
        providers=providers,
        rate_limits=reader.rate_limits(root.get("rate_limiting", {}), providers),
        errors=reader.error_handling(root.get("error_handling", {})),
    )
    reader.check_names(models)
    reader.check_offered()
    if reader.problems:
        raise SettingsError([f"orchestration_config.json: {problem}" for problem in reader.problems])
    return registry


class _Reader:
    """Reads values and collects what is wrong; on a problem a harmless value goes on in its place."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._vendor_models: dict[tuple[str, str], dict[str, Any]] = {}
        self._offered: set[tuple[str, str]] = set()

    def mapping(self, value: Any, place: str) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self.problems.append(f"{place} must be an object")
        return {}

    def _value(self, raw: Mapping[str, Any], key: str, place: str, read: Callable[[Any], Any], default: Any) -> Any:
        if raw.get(key) is None:
            return default
        try:
            return read(raw[key])
        except (ValueError, TypeError, InvalidOperation) as error:
            self.problems.append(f"{place}.{key}={raw[key]!r}: {error}")
            return default

    def _first(
        self, raw: Mapping[str, Any], keys: tuple[str, ...], place: str, read: Callable[[Any], Any], default: Any
    ) -> Any:
        """Read the first of several spellings that is there."""
        key = next((key for key in keys if raw.get(key) is not None), keys[0])
        return self._value(raw, key, place, read, default)

    def variables(self, value: Any, place: str) -> tuple[str, ...]:
        names = value if isinstance(value, list) else [value]
        for name in names:
            if not isinstance(name, str) or not VARIABLE.fullmatch(name):
                # The value is not shown: in the users' own file this is where keys stood.
                self.problems.append(
                    f"{place} must name environment variables, such as OPENAI_API_KEY; keys belong there, not here"
                )
                return ()
        return tuple(names)

    def model(self, name: str, raw: Mapping[str, Any], providers: Mapping[str, Provider]) -> LogicalModel:
        place = f"models.{name}"
        kind = raw.get("kind", "chat")
        if kind not in KINDS:
            self.problems.append(f"{place}.kind={kind!r} must be one of {', '.join(KINDS)}")
            kind = "chat"
        offers = [
            self._offer(self.mapping(offer, f"{place}.offers[{index}]"), f"{place}.offers[{index}]", providers)
            for index, offer in enumerate(raw.get("offers") or [])
        ]
        if not offers:
            self.problems.append(f"{place}.offers must list at least one")
        return LogicalModel(
            name=name,
            kind=cast("Kind", kind),
            purpose=str(raw.get("purpose", "")),
            offers=tuple(offers),
            aliases=self._value(raw, "aliases", place, _texts, ()),
            fallbacks=self._value(raw, "fallbacks", place, _texts, ()),
            max_tokens=self._value(raw, "max_tokens", place, _whole(1), 2000),
            temperature=self._value(raw, "temperature", place, _number(0, 2), None),
            top_p=self._value(raw, "top_p", place, _number(0, 1), None),
            system_prompt=self._value(raw, "system_prompt", place, _lines, ""),
        )

    def _offer(self, raw: Mapping[str, Any], place: str, providers: Mapping[str, Provider]) -> Offer:
        if raw.get("provider") not in providers:
            self.problems.append(
                f"{place}.provider={raw.get('provider')!r} is not one of api_keys: {', '.join(providers)}"
            )
        if not isinstance(raw.get("model"), str) or not raw["model"]:
            self.problems.append(f"{place}.model must be the vendor's id")
        key = (str(raw.get("provider")), str(raw.get("model")))
        self._offered.add(key)
        facts = {**self._vendor_models.get(key, {}), **self._facts(raw, place)}
        if "prices" not in facts:
            self.problems.append(f"{place}.prices is missing: give it here or in vendor_models.{'.'.join(key)}")
        return Offer(*key, **{"prices": NO_PRICES, "context": LEAST_CONTEXT, **facts})

    def vendor_models(self, raw: Any, providers: Mapping[str, Provider]) -> None:
        """Read what is known of vendors' models, whoever offers them; an offer may say otherwise."""
        for provider, models in self.mapping(raw, "vendor_models").items():
            if provider not in providers:
                self.problems.append(f"vendor_models.{provider} is not one of api_keys: {', '.join(providers)}")
            for model, facts in self.mapping(models, f"vendor_models.{provider}").items():
                place = f"vendor_models.{provider}.{model}"
                self._vendor_models[provider, model] = self._facts(self.mapping(facts, place), place)

    def check_offered(self) -> None:
        """Complain of a vendor's model that nobody offers: a name was written wrongly."""
        for key in self._vendor_models.keys() - self._offered:
            self.problems.append(f"vendor_models.{'.'.join(key)} stands in no model's offers")

    def _facts(self, raw: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Read those facts of an offer that are there."""
        facts = {key: self._value(raw, key, place, read, None) for key, read in FACTS.items()}
        for key in ("extra", "extra_with_tools"):
            if key in raw:
                facts[key] = _plain(self.mapping(raw[key], f"{place}.{key}"))
        if raw.get("prices") is not None:
            facts["prices"] = self._prices(self.mapping(raw["prices"], f"{place}.prices"), f"{place}.prices")
        if "prices_from" in raw:
            facts["later_prices"] = self._later_prices(raw["prices_from"], f"{place}.prices_from")
        return {key: value for key, value in facts.items() if value is not None}

    def _later_prices(self, raw: Any, place: str) -> tuple[tuple[dt.date, Prices], ...]:
        days = {}
        for written, prices in self.mapping(raw, place).items():
            try:
                day = dt.date.fromisoformat(written)
            except ValueError:
                self.problems.append(f"{place}.{written} must be a day, such as 2027-01-01")
                continue
            days[day] = self._prices(self.mapping(prices, f"{place}.{written}"), f"{place}.{written}")
        return tuple(sorted(days.items()))

    def _prices(self, raw: Mapping[str, Any], place: str) -> Prices:
        tiers = []
        for index, tier in enumerate(raw.get("tiers") or []):
            inside = self.mapping(tier, f"{place}.tiers[{index}]")
            above = self._value(inside, "above_prompt_tokens", f"{place}.tiers[{index}]", _whole(1), None)
            tiers.append((above or 0, self._rates(inside, f"{place}.tiers[{index}]")))
        per_image = self._value(raw, "per_image", place, _dollars, Decimal(0))
        per_second = self._value(raw, "per_second", place, _dollars, Decimal(0))
        factor = self._value(raw, "batch_factor", place, _dollars, BATCH_FACTOR)
        if per_image or per_second:  # film may be charged by the token as well, which no prompt's price goes with
            rates = Rates(output=self._value(raw, "out", place, _dollars, Decimal(0)))
        else:
            rates = self._rates(raw, place)
        named = self.mapping(raw.get("sizes", {}), f"{place}.sizes")
        sizes = {size: self._value(named, size, f"{place}.sizes", _dollars, Decimal(0)) for size in named}
        return Prices(rates, tuple(sorted(tiers, key=lambda tier: tier[0])), per_image, per_second, factor, sizes)

    def _rates(self, raw: Mapping[str, Any], place: str) -> Rates:
        for key in ("in", "out"):
            if raw.get(key) is None:
                self.problems.append(f"{place}.{key} is missing: dollars per million tokens")
        read = {field: self._value(raw, key, place, _dollars, None) for key, field in RATE_KEYS.items()}
        base = read["input"] or Decimal(0)
        # A vendor that has no price of its own for cached tokens charges them as any other input.
        return Rates(**{field: (base if value is None else value) for field, value in read.items()})

    def rate_limits(self, raw: Any, providers: Mapping[str, Provider]) -> dict[str, RateLimit]:
        limits = {}
        for name, value in self.mapping(raw, "rate_limiting").items():
            place = f"rate_limiting.{name}"
            if name not in providers:
                self.problems.append(f"{place} is not one of api_keys: {', '.join(providers)}")
            inside = self.mapping(value, place)
            limits[name] = RateLimit(
                self._first(inside, RATE_WORDS["requests_per_minute"], place, _whole(0), 0),
                self._first(inside, RATE_WORDS["burst"], place, _whole(1), 10),
                self._first(inside, RATE_WORDS["tokens_per_minute"], place, _whole(0), 0),
            )
        return limits

    def error_handling(self, raw: Any) -> ErrorHandling:
        place = "error_handling"
        root = self.mapping(raw, place)
        tries = self.mapping(root.get("tries", {}), f"{place}.tries")
        for name in tries:
            if name not in TRIES:
                self.problems.append(f"{place}.tries.{name}: the classes are {', '.join(TRIES)}")
        retry = self.mapping(root.get("retry", {}), f"{place}.retry")
        breaker = self.mapping(root.get("circuit_breaker", {}), f"{place}.circuit_breaker")
        return ErrorHandling(
            tries={
                name: self._value(tries, name, f"{place}.tries", _whole(0), default) for name, default in TRIES.items()
            },
            base_s=self._value(retry, "base_ms", f"{place}.retry", _number(0, 3_600_000), 1000) / 1000,
            factor=self._value(retry, "factor", f"{place}.retry", _number(1, 100), 2.0),
            most_s=self._value(retry, "max_ms", f"{place}.retry", _number(0, 3_600_000), 30_000) / 1000,
            breaker_failures=self._value(breaker, "failures", f"{place}.circuit_breaker", _whole(1), 5),
            breaker_open_s=self._value(breaker, "open_s", f"{place}.circuit_breaker", _number(0.001, 86_400), 60.0),
        )

    def check_names(self, models: Mapping[str, LogicalModel]) -> None:
        """Check what only the whole file shows: names used twice, fallbacks nobody answers to. Cycles are allowed."""
        owners: dict[str, str] = {}
        for model in models.values():
            for name in (model.name, *model.aliases):
                if not NAME.fullmatch(name):
                    self.problems.append(f"models.{model.name}: {name!r} is not a name")
                if name in owners:
                    self.problems.append(f"models.{model.name}: the name {name!r} belongs to {owners[name]}")
                owners[name] = model.name
        for model in models.values():
            self.problems += [
                f"models.{model.name}.fallbacks: there is no model named {name!r}"
                for name in model.fallbacks
                if name not in owners
            ]


def _plain(value: Any) -> Any:
    """Turn the Decimals the file is read with back into what a wire's JSON can carry."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _lines(value: Any) -> str:
    """Read a text that may be written as a list of its lines."""
    return value if isinstance(value, str) else "\n".join(_texts(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("must be true or false")
    return value


def _whole(low: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"must be a whole number of {low} or more")
        return value

    return read


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(value)

    return read


def _dollars(value: Any) -> Decimal:
    amount = Decimal(str(value))
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise ValueError("must be dollars, 0 or more")
    return amount


FACTS: Mapping[str, Callable[[Any], Any]] = {
    "context": _whole(1),
    "retires_on": dt.date.fromisoformat,
    "sampling": _flag,
    "max_tokens_field": str,
    "cache_marks": _flag,
    "hosts": _texts,
}
"""How the plain facts of an offer are read."""
