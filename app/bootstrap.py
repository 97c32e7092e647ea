"""The one composition root: every collaborator is made here and connects when it is first used, never at import."""

from __future__ import annotations

import importlib
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.asyncio import Redis as LoopRedis
from redis.asyncio.retry import Retry as LoopRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.exc import SQLAlchemyError

from app.access.service import TokenService
from app.access.store import PgTokenStore
from app.assets.files import AssetFiles
from app.assets.service import AssetService
from app.assets.shelf import AssetShelf, ShowingProvider
from app.assets.store import PgAssets
from app.assignments.service import AssignmentService
from app.assignments.store import PgAssignmentStore
from app.broker import create_celery
from app.chat.agents import Parts as ChatParts
from app.chat.answers import answer_chat, answer_warm_up
from app.chat.assembly import ChatAgents
from app.chat.lessons import PgChatLessons
from app.chat.model import KIND as CHAT
from app.chat.model import WARM_UP_KIND, CategorySource
from app.chat.pricing import RegistryPrices
from app.chat.service import ChatService, Sorting
from app.chat.store import PgChatStore
from app.chat.tokens import TokenStreams
from app.chat.written import CheckedPlans, PlannedModel
from app.database import create_engine
from app.errors import NotConfiguredError
from app.estimating import Estimator
from app.gateway.answer_cache import RedisAnswerCache
from app.gateway.breaker import read_open_breakers
from app.gateway.gate import RedisGate
from app.gateway.images import MediaParts
from app.gateway.media import MediaGateway
from app.gateway.media_config import foreseen_pieces
from app.gateway.registry import RateLimit
from app.gateway.registry_file import read_registry
from app.gateway.sending import Doors
from app.gateway.service import Gateway, utc_today
from app.gateway.traced import TracedProvider
from app.health import Health
from app.housekeeping import Housekeeping
from app.idempotency.service import IdempotencyService
from app.idempotency.store import PgKeyStore
from app.learning.artifacts import ArtifactFolder
from app.learning.assignment import AssignmentLearner
from app.learning.assignment_serving import LearnedAssignments
from app.learning.assignment_training import KIND as ASSIGNMENT_TRAINING
from app.learning.assignment_training import AssignmentTraining, answer_assignment_training
from app.learning.category import CATEGORY, CategoryLearner, CategoryLessons
from app.learning.category import FEWEST_ROWS as FEWEST_SORTED
from app.learning.category import NEW_ROWS as NEW_SORTED
from app.learning.chat_serving import LearnedCategoriser, LearnedRoutes, current_category, current_route
from app.learning.lesson_training import Course, LessonTraining, answer_lesson_training
from app.learning.preference import PreferenceLearner
from app.learning.route import FEWEST_JUDGED, NEW_VERDICTS, ROUTE, RouteLearner, RouteLessons
from app.learning.service import ScorerRegistry
from app.learning.store import PgVersions
from app.pooling.model import PoolingLimits
from app.pooling.service import Pooler
from app.pooling.store import PgPool, delete_old_batches
from app.providers.assembly import SUPPORTED, Vendors, build_vendors
from app.runs.answers import Answers, answer_template
from app.runs.celery_sender import CelerySender, RedisQueueDepths
from app.runs.explaining import ModelFailureExplainer, RedisExplanationQuota
from app.runs.ledger import DayCaps
from app.runs.listening import RunListener
from app.runs.model_steps import MADE_KINDS, GatewayModelSteps
from app.runs.outbox import CallbackDelivery, CallbackPolicy
from app.runs.ports import HandlerCatalog
from app.runs.publishing import EffectPublisher
from app.runs.retention import delete_old_runs
from app.runs.retry import Backoff, Policy
from app.runs.service import RunService
from app.runs.store import PgRunStore
from app.runs.streams import EventStream
from app.runs.system_prompts import SystemPrompts
from app.runs.worker import StepWorker, WorkerParts
from app.studio.assembly import build_agents, build_service
from app.studio.batch import answer_daily_batch, answer_manual_generation
from app.studio.cycle_document import answer_learning_cycle
from app.studio.ways import find_ways
from app.telemetry.metrics import Sources
from app.tools.builtin import register_builtin_tools
from app.usage.service import UsageService
from app.usage.store import PgUsage
from app.workflows.addon import Addons, read_addons
from app.workflows.catalog import Catalog
from app.workflows.estimate import possible_tasks
from app.workflows.spreads import NOTHING, Spread
from app.workflows.template import Templates, read_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import sqlalchemy as sa
    from celery import Celery

    from app.chat.ports import Categoriser, RouteScorer
    from app.gateway.ports import ChatProvider
    from app.gateway.registry import Registry, Target
    from app.learning.ports import Learner
    from app.runs.journal import JournalWriter
    from app.settings import Settings
    from app.studio.service import StudioService
    from app.studio.ways import ModelWays
    from app.workflows.estimate import Estimate
    from app.workflows.model import Task, Workflow

TABLE_MODULES = ("runs", "access", "idempotency", "studio", "assignments", "learning", "chat", "pooling", "assets")
REDIS_CONNECTIONS = 5000  # redis-py 8 caps every pool at 100, and a worker has thousands of steps in flight
OPERATIONS = {"chat": "chat", "embedding": "embeddings", "image": "generate_content", "video": "generate_content"}
SECONDS_AN_HOUR = 3600
SECONDS_A_DAY = 86_400
CHARACTERS_A_TOKEN = 4
MILLION = 1_000_000


def load_tables() -> None:
    """Import every module that declares tables, so that the metadata is whole."""
    for noun in TABLE_MODULES:
        importlib.import_module(f"app.{noun}.tables")


@dataclass
class Application:
    """The composed system; parts connect when they are first used.

    Args:
        settings: what the environment said, with the servers' addresses filled in.
    """

    settings: Settings
    handlers: HandlerCatalog = field(default_factory=HandlerCatalog)
    answers: Answers = field(default_factory=Answers)

    @cached_property
    def engine(self) -> sa.Engine:
        """The pool of database connections."""
        return create_engine(self.settings.storage)

    @cached_property
    def redis(self) -> Redis:
        """The Redis client."""
        return Redis.from_url(
            self.settings.storage.redis_url,
            max_connections=REDIS_CONNECTIONS,
            socket_connect_timeout=3,
            socket_timeout=10,
            health_check_interval=30,
            retry=_retry_once(),
        )

    @cached_property
    def redis_text(self) -> Redis:
        """A client that reads texts."""
        return Redis.from_url(
            self.settings.storage.redis_url,
            decode_responses=True,
            socket_connect_timeout=3,
            socket_timeout=3,
            retry=_retry_once(),
        )

    @cached_property
    def celery(self) -> Celery:
        """The Celery application for sending."""
        return create_celery(lambda: self.settings)

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
    def scorers(self) -> ScorerRegistry:
        """Versions of what was learned."""
        artifacts = ArtifactFolder(self.settings.storage.data_dir)
        learners: list[Learner] = [PreferenceLearner(), AssignmentLearner(), CategoryLearner(), RouteLearner()]
        return ScorerRegistry(PgVersions(self.engine), artifacts, learners)

    @cached_property
    def studio(self) -> StudioService:
        """Batches, likes, structures."""
        ways = self.studio_ways
        return build_service(self.settings, self.engine, self.redis, self.runs, self.scorers, ways=ways)

    @cached_property
    def studio_ways(self) -> ModelWays:
        """Which of the studio's parts models make."""

        def target_of(model: str) -> Target | None:
            targets = self.registry.route(model, self.providers, utc_today()).targets if self.providers else ()
            return targets[0] if targets else None

        return find_ways(self.settings.studio, target_of)

    @cached_property
    def assignments(self) -> AssignmentService:
        """Who should take a task."""
        store, settings = PgAssignmentStore(self.engine), self.settings.assignments
        return AssignmentService(store, settings, LearnedAssignments(self.scorers), self.assignment_training)

    @cached_property
    def assignment_training(self) -> AssignmentTraining:
        """What trains the assignments' scorer."""
        threshold = self.settings.assignments.feedback_threshold
        return AssignmentTraining(PgAssignmentStore(self.engine), self.scorers, self.runs, threshold=threshold)

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
    def housekeeping(self) -> Housekeeping:
        """What is cut back every hour."""
        days = self.settings.engine.retention_days
        return Housekeeping(
            {
                # Keys first: a run whose key has just expired may go in the same round.
                "keys": self.idempotency.purge_expired,
                "runs": lambda: delete_old_runs(self.engine, age_days=days),
                "marks": self.studio.tidy,
                "sessions": self.chat.tidy,
                "assets": self.assets.tidy,
                "vendor_batches": lambda: delete_old_batches(self.engine),
            }
        )

    @cached_property
    def categoriser(self) -> Categoriser:
        """Who tells a chat's category without asking a model."""
        return LearnedCategoriser(current_category(lambda: self.scorers))

    @cached_property
    def route_scorer(self) -> RouteScorer:
        """Who knows where a cheaper model does."""
        return LearnedRoutes(current_route(lambda: self.scorers), self._prices, self.settings.chat.route_max_loss)

    @cached_property
    def chat_lessons(self) -> PgChatLessons:
        """What chats teach, and what routing them saved."""
        return PgChatLessons(self.engine)

    @cached_property
    def chat_trainings(self) -> tuple[LessonTraining, ...]:
        """What trains the scorers of chats."""
        letters, verdicts = CategoryLessons(self.chat_lessons), RouteLessons(self.chat_lessons)
        by_letters, by_verdicts = (
            Course(CATEGORY, FEWEST_SORTED, NEW_SORTED),
            Course(ROUTE, FEWEST_JUDGED, NEW_VERDICTS),
        )
        return (
            LessonTraining(by_letters, letters, self.scorers, lambda: self.runs),
            LessonTraining(by_verdicts, verdicts, self.scorers, lambda: self.runs),
        )

    @cached_property
    def _prices(self) -> RegistryPrices:
        return RegistryPrices(lambda: self.registry, lambda: self.providers)

    @cached_property
    def assets(self) -> AssetService:
        """Files that callers may open."""
        storage = self.settings.storage
        files = AssetFiles(storage.data_dir)
        store = PgAssets(self.engine, files)
        return AssetService(store, files, storage.data_dir, secret=storage.asset_secret, public_url=storage.public_url)

    @cached_property
    def chat(self) -> ChatService:
        """Chats and their sessions."""
        settings = self.settings.chat
        source = CategorySource(settings.category_source)
        sorting = Sorting(lambda: self.categoriser, source, settings.route_holdout)
        return ChatService(self._chat_store, self.runs, self.redis, sorting)

    @cached_property
    def _chat_store(self) -> PgChatStore:
        return PgChatStore(self.engine, ttl_s=self.settings.chat.session_ttl_days * SECONDS_A_DAY)

    @cached_property
    def chat_agents(self) -> ChatAgents:
        """The agents that answer chats."""
        settings = self.settings.chat
        parts = ChatParts(
            store=self._chat_store,
            prices=self._prices,
            streams=TokenStreams(lambda: self._loop_redis),
            categoriser=lambda: self.categoriser,
            scorer=lambda: self.route_scorer,
            told=lambda model: self.system_prompts.parts(model),  # noqa: PLW0108 - the registry is read when needed
            source=CategorySource(settings.category_source),
            history_tokens=settings.session_history_tokens,
            trial=settings.route_trial,
        )
        return ChatAgents(parts, CheckedPlans(self._plan_models, lambda: self.addons.names))

    def _plan_models(self) -> dict[str, PlannedModel]:
        """Name the models that a plan may use: those that are served, and that a step can ask."""
        today = utc_today()
        return {
            name: PlannedModel(model.purpose, model.kind)
            for name, model in self.registry.models.items()
            if model.kind in MADE_KINDS and self.registry.route(name, self.providers, today).targets
        }

    @cached_property
    def health(self) -> Health:
        """How the system is."""
        return Health(self.engine, self.redis, self.studio_status, self.model_health)

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
    def usage(self) -> UsageService:
        """What models were asked, and what it cost."""
        return UsageService(PgUsage(self.engine))

    @property
    def metric_sources(self) -> Sources:
        """What monitors read."""
        models = self.registry.models
        return Sources(
            usage=self.usage,
            operation_of=lambda name: OPERATIONS[models[name].kind] if name in models else OPERATIONS["chat"],
            depths=self.depths.depths,
            circuits=self.circuits,
            studio=self.studio_status,
            day_cap_usd=self.settings.engine.max_cost_per_day_usd,
        )

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

    def studio_status(self) -> dict[str, Any]:
        """Read the studio's counters."""
        return self.studio.status()

    def model_health(self) -> tuple[int, list[str]]:
        """Count the models that can be asked, and say what is wrong with those that are configured.

        Raises:
            RedisError: the broker does not answer.
        """
        learned = self._scorer_problems()
        if not self.providers:
            return 0, learned
        today = utc_today()
        routes = [self.registry.route(name, self.providers, today) for name in self.registry.models]
        warnings = sorted({warning for route in routes for warning in route.warnings})
        targets = {(target.offer.provider, target.offer.model) for route in routes for target in route.targets}
        for breaker in read_open_breakers(self.redis_text, targets):
            what = f"{breaker.model} of {breaker.provider}" if breaker.model else breaker.provider
            warnings.append(f"{what} is not asked for {breaker.retry_in_s:.0f} s more: {breaker.reason}")
        return sum(bool(route.targets) for route in routes), [*warnings, *learned]

    def _scorer_problems(self) -> list[str]:
        try:
            return self.scorers.problems()
        except SQLAlchemyError:
            return []  # the database's own check says that it is away

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

    def estimate(self, workflow: Workflow) -> Estimate:
        """Estimate what a document would cost and take."""
        return Estimator(self.engine, self._price_of).estimate(workflow)

    def _price_of_agent(self, task: Task) -> Spread:
        """Price what an agent asks models, as far as that is known beforehand."""
        foreseen = self.studio.foresee(task) if task.kind == "agent" else None
        targets = self.registry.route(foreseen.model, self.providers, utc_today()).targets if foreseen else ()
        if foreseen is None or not targets:
            return NOTHING
        prompt_tokens = foreseen.prompt_chars // CHARACTERS_A_TOKEN
        rates = targets[0].offer.prices.worst_rates(prompt_tokens)
        most = float(rates.dearest_input * prompt_tokens + rates.output * foreseen.most_tokens) / MILLION
        return Spread(most / 3, most)

    def _price_of(self, task: Task) -> Spread:
        if task.kind != "model":
            return self._price_of_agent(task)
        targets = self.registry.route(task.target, self.providers or SUPPORTED, utc_today()).targets
        if not targets:
            return Spread(0, 0)
        prices = targets[0].offer.prices
        if prices.per_image or prices.per_second:
            pieces = float(prices.per_image + prices.per_second) * foreseen_pieces(task.config, targets[0].logical.kind)
            return Spread(pieces, pieces)
        asked = task.config.get("max_tokens")  # may be a placeholder, whose value nobody knows yet
        tokens = asked if isinstance(asked, int | float) else targets[0].logical.max_tokens
        told = self.system_prompts.parts(task.target, task.config.get("addons") or ())
        prompt_tokens = sum(map(len, (*told, task.prompt or ""))) / CHARACTERS_A_TOKEN
        rates = prices.worst_rates(int(prompt_tokens))
        most = float(rates.dearest_input) * prompt_tokens / MILLION + float(rates.output) * tokens / MILLION
        return Spread(most / 3, most)  # an answer seldom uses its whole allowance

    @cached_property
    def _loop_redis(self) -> LoopRedis:
        """The client on the worker's loop: a sync one would block every step that waits."""
        return LoopRedis.from_url(
            self.settings.storage.redis_url,
            decode_responses=True,
            max_connections=REDIS_CONNECTIONS,
            retry=LoopRetry(NoBackoff(), 1),
        )

    def _model_steps(self) -> GatewayModelSteps:
        client = self._loop_redis
        errors = self.registry.errors
        gate = RedisGate(
            client, limits=self._rate_limits(), threshold=errors.breaker_failures, open_s=errors.breaker_open_s
        )
        shelf = AssetShelf(self.assets)
        traced = {name: TracedProvider(ShowingProvider(provider, shelf)) for name, provider in self.providers.items()}
        answers, embedders = RedisAnswerCache(client), self.vendors.embedding
        batching = self.vendors.batch.keys()
        gateway = Gateway(self.registry, traced, gate=gate, embedders=embedders, answers=answers, batching=batching)
        models = self.settings.models
        doors = Doors({}, gate, price_version=self.registry.version)
        parts = MediaParts(self.vendors.media, doors, shelf, models.film_poll_s, models.film_timeout_s)
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

    def _make_pooler(self, process_id: str, journal: JournalWriter) -> Coroutine[Any, Any, None]:
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
        pooler = Pooler(pool, self.vendors.batch, journal.write, self.registry.batch_cost, every_s=every_s)
        return pooler.run()

    def _rate_limits(self) -> dict[str, RateLimit]:
        """Put the environment's numbers in place of the registry's."""
        limits = self.registry.rate_limits
        given = self.settings.models.rate_limits()
        return {
            name: limits.get(name, RateLimit()).overridden(*given.get(name, (None, None))) for name in {*limits, *given}
        }

    def _retry_policy(self) -> Policy:
        errors = self.registry.errors
        return Policy(errors.tries, Backoff(errors.base_s, errors.factor, errors.most_s))

    def make_worker(self, role: str) -> StepWorker:
        """Make this process's step worker; the caller starts and closes it."""
        engine = self.settings.engine
        policy = CallbackPolicy(
            engine.callback_allowed_hosts, engine.callback_secret, engine.callback_window_h * SECONDS_AN_HOUR
        )
        sender = CelerySender(self.celery)
        models = self._model_steps()
        quota = RedisExplanationQuota(self._loop_redis)

        def make_publisher(wake: Callable[[str, str], None]) -> EffectPublisher:
            return EffectPublisher(sender, self.stream, wake)

        return StepWorker(
            WorkerParts(
                dsn=libpq_address(self.settings.storage.database_url),
                process_id=str(uuid.uuid4()),
                role=role,
                engine=engine,
                client=self.redis,
                catalog=self.handlers,
                models=models,
                caps=DayCaps(engine.max_cost_per_day_usd, engine.max_cost_per_owner_day_usd),
                reader=self.store,
                depths=self.depths,
                make_publisher=make_publisher,
                callbacks=CallbackDelivery(self.engine, self.store, policy, self.answers.shape),
                explainer=ModelFailureExplainer(models, self.system_prompts, quota),
                policy=self._retry_policy(),
                companion=self._make_pooler if self.vendors.batch else None,
            )
        )


def _retry_once() -> Retry:
    """Try a command a second time at once: the connection may have died while it lay in the pool.

    The client's own way waits six seconds for a Redis that is away, and whoever started a run with it.
    """
    return Retry(NoBackoff(), 1)


def build(settings: Settings) -> Application:
    """Compose the system.

    Args:
        settings: with DATABASE_URL and REDIS_URL; `batuta up` fills in the embedded servers' addresses.

    Raises:
        NotConfiguredError: an address is missing.
    """
    for name, value in (("DATABASE_URL", settings.storage.database_url), ("REDIS_URL", settings.storage.redis_url)):
        if not value:
            raise NotConfiguredError(f"{name} is not set; `batuta up` brings servers along and sets it.", setting=name)
    application = Application(settings)
    application.answers.register("template", answer_template)
    application.answers.register("daily_batch", answer_daily_batch)
    application.answers.register("manual_generation", answer_manual_generation)
    application.answers.register("learning_cycle", answer_learning_cycle)
    application.answers.register(ASSIGNMENT_TRAINING, answer_assignment_training)
    application.answers.register(CHAT, answer_chat)
    application.answers.register(WARM_UP_KIND, answer_warm_up)
    application.chat_agents.register(application.handlers)
    register_builtin_tools(application.handlers)
    agents = build_agents(
        settings,
        application.engine,
        application.redis,
        application.runs,
        application.scorers,
        ways=application.studio_ways,
    )
    agents.register(application.handlers, settings.studio)
    application.assignment_training.register(application.handlers, settings.studio.train_timeout_s)
    for training in application.chat_trainings:
        training.register(application.handlers, settings.studio.train_timeout_s)
        application.answers.register(training.course.kind, answer_lesson_training)
    for name in settings.engine.extensions:
        importlib.import_module(name).register(application.handlers)
    return application


def libpq_address(database_url: str) -> str:
    """Write SQLAlchemy's address as libpq reads it."""
    return database_url.replace("postgresql+psycopg2://", "postgresql://", 1)
