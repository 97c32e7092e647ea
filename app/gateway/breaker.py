"""Which breakers are open, for people; `app/gateway/gate.py` opens and closes them.

    closed      requests go out; failures in a row are counted
    open        `open_s` seconds nothing is sent
    half open   one request tries; if it succeeds the breaker closes, if not it opens again

`redis-cli HGETALL breaker:{provider}:{model}` shows one; `breaker:{provider}` is the whole provider's, opened by a
refused key, missing credit or a used-up quota. All times are Redis's own, so workers' clocks do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable

from redis import Redis as SyncRedis

from app.gateway.ports import OpenBreaker

PREFIX = "breaker:"


def read_open_breakers(redis: SyncRedis, models: Iterable[tuple[str, str]]) -> list[OpenBreaker]:
    """List what is open or being tried, by name; for `/health`, where there is no loop.

    Args:
        redis: decodes its answers.
        models: provider and vendor's id of each model to look at; their providers' own breakers are looked at too.

    Raises:
        RedisError: it does not answer.
    """
    places = sorted({place for provider, model in models for place in ((provider, ""), (provider, model))})
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    for provider, model in places:
        pipe.hgetall(breaker_keys(provider, model)[1 if model else 0])
    (seconds, microseconds), *kept = pipe.execute()
    now = seconds + microseconds / 1_000_000
    return [
        OpenBreaker(
            provider,
            model,
            one.get("reason", ""),
            one.get("error", ""),
            max(0.0, float(one.get("open_until", 0)) - now),
        )
        for (provider, model), one in zip(places, kept, strict=True)
        if one.get("state") in {"open", "half_open"}
    ]


def breaker_keys(provider: str, model: str) -> list[str]:
    """Name the provider's breaker and the model's."""
    return [f"{PREFIX}{provider}", f"{PREFIX}{provider}:{model}"]
