"""Models: who serves them, what stands before a question, and the way to them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from app.assets.files import AssetFiles
from app.assets.service import AssetService
from app.assets.shelf import AssetShelf, ShowingProvider
from app.assets.store import PgAssets
from app.bootstrap.engine import EngineParts
from app.chat.pricing import RegistryPrices
from app.gateway.answer_cache import RedisAnswerCache
from app.gateway.breaker import read_open_breakers
from app.gateway.gate import RedisGate
from app.gateway.images import MediaParts
from app.gateway.media import MediaGateway
from app.gateway.registry import RateLimit
from app.gateway.registry_file import read_registry
from app.gateway.sending import Doors
from app.gateway.service import Gateway, utc_today
from app.gateway.traced import TracedEmbedder, TracedMaker, TracedProvider
from app.pooling.model import PoolingLimits
from app.pooling.service import Pooler
from app.pooling.store import PgPool
from app.providers.assembly import SUPPORTED, Vendors, build_vendors
from app.runs.model_steps import GatewayModelSteps
from app.runs.retry import Backoff, Policy
from app.runs.system_prompts import SystemPrompts
from app.workflows.addon import Addons, read_addons
from app.workflows.catalog import Catalog
from app.workflows.estimate import possible_tasks
from app.workflows.template import Templates, read_templates

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from decimal import Decimal

    from app.gateway.model import ChatAnswer, ChatRequest
    from app.gateway.ports import ChatProvider
    from app.gateway.registry import Registry
    from app.runs.journal import JournalWriter
    from app.workflows.model import Workflow


class ModelParts(EngineParts):
    """Make the way to models."""

    @cached_property
    def registry(self) -> Registry:
        """The models."""
        return read_registry(self.settings.models.registry_path)

    @cached_property
    def vendors(self) -> Vendors:
        """What the configured vendors can do."""
        return build_vendors(self.settings.models)

    @property
    def providers(self) -> dict[str, ChatProvider]:
        """The vendors that are configured, by their names in the registry."""
        return self.vendors.chat

    @cached_property
    def addons(self) -> Addons:
        """The crafts that model steps can name."""
        return read_addons()

    @cached_property
    def templates(self) -> Templates:
        """The documents that only need variables."""
        return read_templates()

    @cached_property
    def system_prompts(self) -> SystemPrompts:
        """What stands before every question to a model."""
        return SystemPrompts(self.registry, self.addons)

    @property
    def catalog(self) -> Catalog:
        """The names that documents may use."""
        return Catalog(
            models=self.registry.names,
            agents=frozenset(self.handlers.agents),
            tools=frozenset(self.handlers.tools),
            addons=self.addons.names,
        )

    @cached_property
    def assets(self) -> AssetService:
        """Files that callers may open."""
        storage = self.settings.storage
        files = AssetFiles(storage.data_dir)
        store = PgAssets(self.engine, files)
        return AssetService(store, files, storage.data_dir, secret=storage.asset_secret, public_url=storage.public_url)

    def circuits(self) -> dict[str, str]:
        """Map each configured provider to the worst state of its breakers: closed, half_open or open.

        Raises:
            RedisError: the broker does not answer.
        """
        offers = [offer for model in self.registry.models.values() for offer in model.offers]
        targets = {(offer.provider, offer.model) for offer in offers if offer.provider in self.providers}
        worst = dict.fromkeys(sorted(provider for provider, _ in targets), "closed")
        for breaker in read_open_breakers(self.redis_text, targets):
            if worst[breaker.provider] != "open":
                worst[breaker.provider] = "open" if breaker.retry_in_s > 0 else "half_open"
        return worst

    def missing_settings(self, workflow: Workflow) -> list[str]:
        """Name the variables without which a document's model steps cannot run; empty when all can."""
        found: dict[str, None] = {}
        today = utc_today()
        for task in possible_tasks(workflow):
            if (
                task.kind != "model"
                or self.registry.route(task.target, self.providers, today, task.fallback or None).targets
            ):
                continue
            missing = self.registry.missing_variables(task.target, self.providers, SUPPORTED)
            found.update(dict.fromkeys(missing))
        return list(found)

    @cached_property
    def prices(self) -> RegistryPrices:
        """What models cost, as chat asks."""
        return RegistryPrices(lambda: self.registry, lambda: self.providers)

    def make_model_steps(self) -> GatewayModelSteps:
        """Make what does a worker's model steps, on its own loop."""
        client = self.loop_redis
        errors = self.registry.errors
        gate = RedisGate(
            client, limits=self._rate_limits(), threshold=errors.breaker_failures, open_s=errors.breaker_open_s
        )
        shelf = AssetShelf(self.assets)
        traced = {name: TracedProvider(ShowingProvider(provider, shelf)) for name, provider in self.providers.items()}
        answers = RedisAnswerCache(client)
        embedders = {name: TracedEmbedder(provider) for name, provider in self.vendors.embedding.items()}
        makers = {name: TracedMaker(provider) for name, provider in self.vendors.media.items()}
        batching = self.vendors.batch.keys()
        gateway = Gateway(self.registry, traced, gate=gate, embedders=embedders, answers=answers, batching=batching)
        models = self.settings.models
        doors = Doors({}, gate, price_version=self.registry.version)
        parts = MediaParts(makers, doors, shelf, models.film_poll_s, models.film_timeout_s)
        return GatewayModelSteps(
            gateway,
            self.system_prompts,
            media=MediaGateway(gateway, self.registry, parts),
            assets=shelf,
            timeout_s=self.settings.engine.step_timeout_s,
            cache_ttl_s=models.cache_ttl_seconds,
            live_after_s=models.vendor_batch_live_after_s,
            parallel_images=models.max_parallel_images,
        )

    def make_pooler(self, process_id: str, journal: JournalWriter) -> Coroutine[Any, Any, None]:
        """Make what looks after the vendors' batches, beside a worker's steps."""
        models = self.settings.models
        limits = PoolingLimits(
            gather_s=models.vendor_batch_gather_s,
            most=models.vendor_batch_size,
            poll_s=models.vendor_batch_poll_s,
            margin_s=models.vendor_batch_margin_s,
        )
        every_s = min(limits.poll_s, limits.gather_s or limits.poll_s) / 3
        pool = PgPool(self.engine, limits, process_id=process_id, lease_s=self.settings.engine.lease_s)

        def cost_of(model: str, request: ChatRequest, answer: ChatAnswer) -> Decimal | None:
            return self.registry.batch_cost(model, request, answer, utc_today())

        return Pooler(pool, self.vendors.batch, journal.write, cost_of, every_s=every_s).run()

    def _rate_limits(self) -> dict[str, RateLimit]:
        """Put the environment's numbers in place of the registry's."""
        limits = self.registry.rate_limits
        given = self.settings.models.rate_limits()
        return {
            name: limits.get(name, RateLimit()).overridden(*given.get(name, (None, None))) for name in {*limits, *given}
        }

    def retry_policy(self) -> Policy:
        """Give tries and waits by error class, as the registry file says."""
        errors = self.registry.errors
        return Policy(errors.tries, Backoff(errors.base_s, errors.factor, errors.most_s))
