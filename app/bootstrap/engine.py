"""The engine and what every door uses: runs, tokens, keys, the ledger's sums."""

from __future__ import annotations

from functools import cached_property

from app.access.service import TokenService
from app.access.store import PgTokenStore
from app.bootstrap.connections import Connections
from app.idempotency.service import IdempotencyService
from app.idempotency.store import PgKeyStore
from app.runs.celery_sender import CelerySender, RedisQueueDepths
from app.runs.listening import RunListener
from app.runs.publishing import EffectPublisher
from app.runs.service import RunService
from app.runs.store import PgRunStore
from app.runs.streams import EventStream
from app.usage.service import UsageService
from app.usage.store import PgUsage


class EngineParts(Connections):
    """Make the engine."""

    @cached_property
    def store(self) -> PgRunStore:
        """The journal's readers."""
        return PgRunStore(self.engine)

    @cached_property
    def stream(self) -> EventStream:
        """The fast copy of events."""
        engine = self.settings.engine
        return EventStream(self.redis, length=engine.event_stream_length, ttl_s=engine.event_stream_ttl_s)

    @cached_property
    def depths(self) -> RedisQueueDepths:
        """Messages in the queues."""
        return RedisQueueDepths(self.redis)

    @cached_property
    def runs(self) -> RunService:
        """Runs."""
        publisher = EffectPublisher(CelerySender(self.celery), self.stream)
        listener = RunListener(self.redis, self.store, max_waiting=self.settings.web.threads // 2)
        return RunService(self.store, publisher, listener, self.depths, self.settings.engine.max_queue_depth)

    @cached_property
    def tokens(self) -> TokenService:
        """Who may call."""
        web = self.settings.web
        return TokenService(PgTokenStore(self.engine), configured=web.api_tokens, host=web.host)

    @cached_property
    def idempotency(self) -> IdempotencyService:
        """Keys that make a POST happen once."""
        return IdempotencyService(PgKeyStore(self.engine))

    @cached_property
    def usage(self) -> UsageService:
        """What models were asked, and what it cost."""
        return UsageService(PgUsage(self.engine))
