"""What every request passes before it is sent: a breaker a provider and model, and a rate a provider.

One gate for all workers, in Redis: a model that fails for one is left alone by all, and all together keep within a
vendor's rate. Both are asked in one round trip, and those who ask within one turn of the loop share it.

Who must wait for a rate is told how long by its place in a queue, so that five hundred do not come back at once;
runs take turns in it, so that one with five hundred steps does not keep others out. docs/decisions/0009 says why this
is not the `limits` library.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from app.gateway import gate_scripts as scripts
from app.gateway.breaker import PREFIX, breaker_keys
from app.gateway.ports import Admission, Passage
from app.gateway.registry import RateLimit

logger = logging.getLogger(__name__)

RATE_PREFIX = "rate:"
MINUTE_S = 60.0
MARGIN = 1 / 60
"""Part of a minute by which what was let through counts longer. Between gate and vendor one request may take a little
longer than another, and sixty of one minute must not arrive with the first of the next."""
LONGEST_WAIT_S = 60.0
"""A wait beyond this is cut in half: who is far behind in the queue looks again whether those ahead are still there."""
GRACE_S = 10.0
"""Seconds after its time for which a place in the queue is kept."""
RETIRED_OPEN_S = 3600.0
"""A model that is gone is asked again after an hour: a 404 can also be a vendor's own mistake."""
COUNT_TTL_S = 600
"""Failures further apart than this are not "in a row"."""
KEPT_S = 86_400
"""How long an open breaker's hash stays for people to read."""
SETTLED_EVERY_S = 0.05
"""What answers used is told in one round trip for all that came meanwhile."""
ANSWER_TIMEOUT_S = 1.0
"""The gate must not make calls wait for a Redis that hangs."""
COMPLAIN_EVERY_S = 10.0

_UNLIMITED = RateLimit()


@dataclass(frozen=True)
class _Command:
    """One script with what it is given."""

    text: str
    keys: Sequence[str]
    arguments: Sequence[str | int | float]


@dataclass
class _Asking:
    """One who asks, and what must be told."""

    passage: Passage
    entry: str
    future: asyncio.Future[Admission]


class RedisGate:
    """The gate of all workers. While Redis is away every request is let through, and a line in the log says so.

    Args:
        redis: decodes its answers; used on one loop only.
        limits: rates by provider; one that is missing is not limited.
        threshold: failures in a row that open a breaker.
        open_s: seconds it stays open, and a probe may take.
        minute_s: seconds of a minute; for tests, which have less time.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        limits: Mapping[str, RateLimit] | None = None,
        threshold: int = 5,
        open_s: float = 60.0,
        minute_s: float = MINUTE_S,
    ) -> None:
        self._redis = redis
        self._limits = {name: limit for name, limit in (limits or {}).items() if limit.limited}
        self._threshold = threshold
        self._open_s = open_s
        self._minute_s = minute_s
        self._asking: list[_Asking] = []
        self._settlements: list[_Command] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained_at = -COMPLAIN_EVERY_S

    async def enter(self, passage: Passage) -> Admission:
        """Ask whether a request may be sent now; of those who share a round trip only one becomes a probe."""
        future: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        self._asking.append(_Asking(passage, uuid.uuid4().hex[:12], future))
        if len(self._asking) == 1:
            task = asyncio.create_task(self._ask())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _ask(self) -> None:
        await asyncio.sleep(0)  # lets others of this turn join
        asking, self._asking = self._asking, []
        groups = self._groups(asking)
        answers = await self._run([self._command(group[0]) for group in groups])
        for group, raw in zip(groups, answers or [None] * len(groups), strict=True):
            await self._tell(group, raw)

    def _groups(self, asking: Iterable[_Asking]) -> list[list[_Asking]]:
        """Put those together who want the same; where a rate counts, everybody asks alone."""
        groups: dict[tuple[str, str, str], list[_Asking]] = {}
        for one in asking:
            passage = one.passage
            alone = one.entry if passage.provider in self._limits else ""
            groups.setdefault((passage.provider, passage.model, alone), []).append(one)
        return list(groups.values())

    def _command(self, one: _Asking) -> _Command:
        passage = one.passage
        keys = breaker_keys(passage.provider, passage.model)
        limit = self._limits.get(passage.provider)
        if limit is None:
            return _Command(scripts.ADMIT, keys, [self._open_s])
        window_s = self._minute_s * (1 + MARGIN)
        rates: list[float] = [limit.requests_per_minute, limit.burst, limit.tokens_per_minute, self._minute_s, window_s]
        asker: list[str | int] = [passage.ticket or one.entry, passage.run, passage.tokens, one.entry]
        return _Command(
            scripts.ENTER,
            [*keys, *_rate_keys(passage.provider)],
            [self._open_s, *rates, *asker, LONGEST_WAIT_S, GRACE_S],
        )

    async def _tell(self, group: list[_Asking], raw: Any) -> None:
        admission = Admission(allowed=True) if raw is None else _admission(raw)
        limit = self._limits.get(group[0].passage.provider)
        if admission.allowed and raw is not None and limit is not None:
            tokens = min(group[0].passage.tokens, limit.tokens_per_minute)
            admission = Admission(
                allowed=True, probe=admission.probe, failures=admission.failures, entry=group[0].entry, tokens=tokens
            )
        later = Admission(allowed=False, retry_in_s=self._open_s, reason="failures") if admission.probe else admission
        first = True
        for one in group:
            if not one.future.done():  # one whose caller was cancelled
                one.future.set_result(admission if first else later)
                first = False
        if first and admission.allowed:
            await self.withdraw(group[0].passage, admission)

    async def succeed(self, passage: Passage) -> None:
        """Close the model's breaker and the provider's."""
        await self._run([_Command(scripts.SUCCEED, breaker_keys(passage.provider, passage.model), [])])

    async def fail(self, passage: Passage, *, reason: str, error: str) -> bool:
        """Count a failure, or open at once."""
        whole = reason in {"auth", "quota"}
        key = breaker_keys(passage.provider, passage.model)[0 if whole else 1]
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
        answers = await self._run([_Command(scripts.FAIL, [key], arguments)])
        opened = bool(answers and answers[0])
        if opened:
            logger.warning("breaker %s is open for %g s: %s", key.removeprefix(PREFIX), open_s, reason)
        return opened

    async def withdraw(self, passage: Passage, admission: Admission) -> None:
        """Let another request be the probe, and give back the place in the rate of one that is not sent."""
        commands = []
        if admission.probe:
            commands.append(_Command(scripts.WITHDRAW, breaker_keys(passage.provider, passage.model), []))
        limit = self._limits.get(passage.provider)
        if admission.entry and limit is not None:
            every_s = self._minute_s / limit.requests_per_minute if limit.requests_per_minute else 0
            arguments: list[str | int | float] = [admission.entry, admission.tokens, every_s]
            commands.append(_Command(scripts.LEAVE, _rate_keys(passage.provider)[:2], arguments))
        if commands:
            await self._run(commands)

    async def delay(self, passage: Passage, admission: Admission) -> None:
        """Count a request that was held up on its way from here on: the vendor sees it only now."""
        if admission.entry:
            keys = [_rate_keys(passage.provider)[1]]
            await self._run([_Command(scripts.DELAY, keys, [admission.entry, admission.tokens])])

    def settle_soon(self, passage: Passage, admission: Admission, tokens: int) -> None:
        """Count what a request did use in place of what it was let through with; nobody waits for it."""
        if not admission.tokens or tokens == admission.tokens:
            return
        self._settlements.append(self._settlement(passage, admission, tokens))
        if len(self._settlements) == 1:
            task = asyncio.create_task(self._settle())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(self) -> None:
        await asyncio.sleep(SETTLED_EVERY_S)
        settlements, self._settlements = self._settlements, []
        await self._run(settlements)

    def _settlement(self, passage: Passage, admission: Admission, tokens: int) -> _Command:
        keys = _rate_keys(passage.provider)[:2]
        return _Command(scripts.SETTLE, keys, [admission.entry, admission.tokens, tokens])

    async def _run(self, commands: Sequence[_Command]) -> list[Any] | None:
        """Run scripts in one round trip; None when Redis does not answer."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answers = await self._send(commands, known=True)
                new = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
                if new:  # this Redis has not seen them yet
                    for place, answer in zip(
                        new, await self._send([commands[place] for place in new], known=False), strict=True
                    ):
                        answers[place] = answer
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        except (RedisError, OSError, TimeoutError) as error:
            if time.monotonic() - self._complained_at >= COMPLAIN_EVERY_S:
                self._complained_at = time.monotonic()
                logger.warning("Redis does not answer the gate; every call is let through (%s)", _described(error))
            return None
        return answers

    async def _send(self, commands: Sequence[_Command], *, known: bool) -> list[Any]:
        """Send scripts by their digests, or whole to a server that does not know them."""
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            script, count = _DIGESTS[command.text] if known else command.text, len(command.keys)
            call = pipe.evalsha if known else pipe.eval
            call(script, count, *command.keys, *command.arguments)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers


_DIGESTS = {
    text: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    for text in (
        scripts.ADMIT,
        scripts.ENTER,
        scripts.SETTLE,
        scripts.DELAY,
        scripts.LEAVE,
        scripts.SUCCEED,
        scripts.FAIL,
        scripts.WITHDRAW,
    )
}


def _rate_keys(provider: str) -> list[str]:
    base = f"{RATE_PREFIX}{provider}"
    return [base, f"{base}:minute", f"{base}:queue", f"{base}:told", f"{base}:runs"]


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, RedisError) else type(error).__name__


def _admission(raw: list[Any]) -> Admission:
    allowed, probe, failures, wait_s, reason = raw
    return Admission(bool(allowed), bool(probe), int(failures), float(wait_s), str(reason))
