"""Airtable's rate, shared by every process through Redis.

Two keys a base, readable with `redis-cli GET`: `airtable:{base}:next`, when the next request may go out, and
`airtable:{base}:penalty`, until when nothing may; both in milliseconds since 1970.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.errors import StepParked

if TYPE_CHECKING:
    import redis

SPACING_MS = 225  # Airtable allows five requests a second and base; a little slower, since requests bunch on their way
PATIENCE_S = 5.0  # longer waits give the worker's place back

# Takes the next free moment, unless it is further away than the caller will wait. Answers [granted, wait_ms, moment].
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local penalty = tonumber(redis.call('GET', KEYS[2]) or '0')
local moment = math.max(now, penalty, tonumber(redis.call('GET', KEYS[1]) or '0'))
local wait = moment - now
if wait > tonumber(ARGV[2]) then return {0, wait, moment} end
redis.call('SET', KEYS[1], string.format('%.0f', moment + ARGV[1]), 'PX', math.floor(wait + ARGV[1] + 1000))
return {1, wait, moment}
"""
_PENALISE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = now + tonumber(ARGV[1])
if until_ms > tonumber(redis.call('GET', KEYS[1]) or '0') then
  redis.call('SET', KEYS[1], string.format('%.0f', until_ms), 'PX', math.max(1, math.floor(ARGV[1])))
end
return 1
"""


class AirtableRate:
    """Spaces out the requests to one base, whoever sends them.

    Args:
        client: Redis.
        base_id: the base.
        penalty_s: how long Airtable refuses everything after a 429.
        spacing_ms: from one request to the next.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        client: redis.Redis,
        base_id: str,
        penalty_s: float,
        *,
        spacing_ms: int = SPACING_MS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._next, self._penalty = f"airtable:{base_id}:next", f"airtable:{base_id}:penalty"
        self._take: Any = client.register_script(_TAKE)
        self._penalise: Any = client.register_script(_PENALISE)
        self._client = client
        self._penalty_s = penalty_s
        self._spacing_ms = spacing_ms
        self._sleep = sleep

    def take(self) -> None:
        """Wait for this request's turn.

        Raises:
            StepParked: the turn is more than 5 s away, as during a penalty; nothing was reserved.
        """
        while True:
            granted, wait_ms, moment = self._take(
                keys=[self._next, self._penalty], args=[self._spacing_ms, int(PATIENCE_S * 1000)]
            )
            if not granted:
                raise StepParked("rate", delay_s=wait_ms / 1000)
            if wait_ms == 0:
                return
            self._sleep(wait_ms / 1000)
            # A penalty that began meanwhile ends later; the one that was waited for may still be there for a moment.
            if int(self._client.get(self._penalty) or 0) <= moment:
                return

    def penalise(self) -> None:
        """Tell everybody that Airtable has refused for its rate."""
        self._penalise(keys=[self._penalty], args=[int(self._penalty_s * 1000)])
