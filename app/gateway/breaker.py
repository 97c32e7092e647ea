"""A breaker a provider and model, shared by all workers through Redis.

    closed      requests go out; failures in a row are counted
    open        `open_s` seconds nothing is sent
    half open   one request tries; if it succeeds the breaker closes, if not it opens again

`redis-cli HGETALL breaker:{provider}:{model}` shows one; `breaker:{provider}` is the whole provider's, opened by a
refused key, missing credit or a used-up quota. All times are Redis's own, so workers' clocks do not matter.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.gateway.ports import Admission, OpenBreaker

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

PREFIX = "breaker:"
RETIRED_OPEN_S = 3600.0
"""A model that is gone is asked again after an hour: a 404 can also be a vendor's own mistake."""
COUNT_TTL_S = 600
"""Failures further apart than this are not "in a row"."""
KEPT_S = 86_400
"""How long an open breaker's hash stays for people to read."""
ANSWER_TIMEOUT_S = 1.0
"""A breaker must not make calls wait for a Redis that hangs."""
COMPLAIN_EVERY_S = 10.0

_NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "

# KEYS: provider's, model's. ARGV: seconds a probe may take.
# Answers {allowed, probe, failures, retry_in_s, reason}; numbers as text, or Redis would cut them to whole ones.
_ADMIT = (
    _NOW
    + """
local waits, reason, trying = 0, '', {}
for _, key in ipairs(KEYS) do
  local h = redis.call('HMGET', key, 'state', 'open_until', 'probe_until', 'reason')
  if h[1] == 'open' or h[1] == 'half_open' then
    local left = math.max((tonumber(h[2]) or 0) - now, (tonumber(h[3]) or 0) - now)
    if left > 0 then
      if left > waits then waits, reason = left, h[4] or '' end
    else
      trying[#trying + 1] = key
    end
  end
end
if waits > 0 then return {0, 0, 0, tostring(waits), reason} end
for _, key in ipairs(trying) do
  redis.call('HSET', key, 'state', 'half_open', 'probe_until', tostring(now + tonumber(ARGV[1])))
end
local failures = tonumber(redis.call('HGET', KEYS[2], 'failures') or '0')
return {1, #trying > 0 and 1 or 0, failures, '0', ''}
"""
)

# KEYS: provider's, model's.
_SUCCEED = "return redis.call('DEL', KEYS[1], KEYS[2])"

# KEYS: the one to count against. ARGV: threshold, open_s, at once, reason, error, the count's ttl, kept_s.
# Answers 1 when it is open.
_FAIL = (
    _NOW
    + """
local state = redis.call('HGET', KEYS[1], 'state')
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('HSET', KEYS[1], 'error', ARGV[5], 'failed_at', tostring(now))
if ARGV[3] == '1' or state == 'half_open' or failures >= tonumber(ARGV[1]) then
  if state ~= 'open' or ARGV[3] == '1' then
    redis.call('HSET', KEYS[1], 'state', 'open', 'reason', ARGV[4], 'open_until', tostring(now + tonumber(ARGV[2])))
    redis.call('HDEL', KEYS[1], 'probe_until')
    redis.call('EXPIRE', KEYS[1], ARGV[7])
  end
  return 1
end
redis.call('HSET', KEYS[1], 'state', 'closed')
redis.call('EXPIRE', KEYS[1], ARGV[6])
return 0
"""
)

_WITHDRAW = """
for _, key in ipairs(KEYS) do
  if redis.call('HGET', key, 'state') == 'half_open' then redis.call('HDEL', key, 'probe_until') end
end
return 1
"""


class RedisBreaker:
    """The breaker of all workers.

    Requests that ask about the same model within one turn of the loop share one round trip. While Redis is away every
    request is let through, and a line in the log says so.

    Args:
        redis: decodes its answers; used on one loop only.
        threshold: failures in a row that open a breaker.
        open_s: seconds it stays open, and a probe may take.
    """

    def __init__(self, redis: Redis, *, threshold: int = 5, open_s: float = 60.0) -> None:
        self._redis = redis
        self._threshold = threshold
        self._open_s = open_s
        self._admit_script = redis.register_script(_ADMIT)
        self._succeed_script = redis.register_script(_SUCCEED)
        self._fail_script = redis.register_script(_FAIL)
        self._withdraw_script = redis.register_script(_WITHDRAW)
        self._asking: dict[tuple[str, str], list[asyncio.Future[Admission]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained_at = -COMPLAIN_EVERY_S

    async def admit(self, provider: str, model: str) -> Admission:
        """Ask whether a request may be sent; of those who share a round trip only one becomes the probe."""
        future: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        waiting = self._asking.setdefault((provider, model), [])
        waiting.append(future)
        if len(waiting) == 1:
            task = asyncio.create_task(self._ask(provider, model))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _ask(self, provider: str, model: str) -> None:
        await asyncio.sleep(0)  # lets others of this turn join
        waiting = self._asking.pop((provider, model))
        raw = await self._try(lambda: self._admit_script(keys=_keys(provider, model), args=[self._open_s]), None)
        admission = Admission(allowed=True) if raw is None else _admission(raw)
        later = Admission(allowed=False, retry_in_s=self._open_s, reason="failures") if admission.probe else admission
        first = True
        for future in waiting:
            if not future.done():  # one whose caller was cancelled
                future.set_result(admission if first else later)
                first = False
        if first and admission.probe:
            await self.withdraw(provider, model)

    async def succeed(self, provider: str, model: str) -> None:
        """Close the model's breaker and the provider's."""
        await self._try(lambda: self._succeed_script(keys=_keys(provider, model)), None)

    async def fail(self, provider: str, model: str, *, reason: str, error: str) -> bool:
        """Count a failure, or open at once."""
        whole = reason in {"auth", "quota"}
        key = f"{PREFIX}{provider}" if whole else f"{PREFIX}{provider}:{model}"
        at_once = whole or reason == "retired"
        open_s = RETIRED_OPEN_S if reason == "retired" else self._open_s
        arguments: list[str | int | float] = [
            self._threshold,
            open_s,
            int(at_once),
            reason,
            error[:500],
            COUNT_TTL_S,
            int(KEPT_S + open_s),
        ]
        opened = bool(await self._try(lambda: self._fail_script(keys=[key], args=arguments), 0))
        if opened:
            logger.warning("breaker %s is open for %g s: %s", key.removeprefix(PREFIX), open_s, reason)
        return opened

    async def withdraw(self, provider: str, model: str) -> None:
        """Let another request be the probe."""
        await self._try(lambda: self._withdraw_script(keys=_keys(provider, model)), None)

    async def _try(self, ask: Callable[[], Awaitable[Any]], otherwise: Answer) -> Any | Answer:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await ask()
        except (RedisError, OSError, TimeoutError) as error:
            if time.monotonic() - self._complained_at >= COMPLAIN_EVERY_S:
                self._complained_at = time.monotonic()
                logger.warning(
                    "Redis does not answer the breaker; every call is let through (%s)", type(error).__name__
                )
            return otherwise


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
        pipe.hgetall(_keys(provider, model)[1 if model else 0])
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


def _keys(provider: str, model: str) -> list[str]:
    return [f"{PREFIX}{provider}", f"{PREFIX}{provider}:{model}"]


def _admission(raw: list[Any]) -> Admission:
    allowed, probe, failures, wait_s, reason = raw
    return Admission(bool(allowed), bool(probe), int(failures), float(wait_s), str(reason))
