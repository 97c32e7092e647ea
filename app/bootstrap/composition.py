"""The composed system: what needs all of it, and the function that builds it."""

from __future__ import annotations

import importlib
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from app.bootstrap.connections import libpq_address
from app.bootstrap.nouns import NounParts
from app.chat.answers import answer_chat, answer_warm_up
from app.chat.model import KIND as CHAT
from app.chat.model import WARM_UP_KIND
from app.errors import NotConfiguredError
from app.estimating import Estimator
from app.gateway.breaker import read_open_breakers
from app.gateway.media_config import foreseen_pieces
from app.gateway.service import utc_today
from app.health import Health
from app.housekeeping import Housekeeping
from app.learning.answers import answer_training
from app.learning.assignment_training import KIND as ASSIGNMENT_TRAINING
from app.pooling.store import delete_old_batches
from app.providers.assembly import SUPPORTED
from app.runs.answers import answer_template
from app.runs.celery_sender import CelerySender
from app.runs.explaining import ModelFailureExplainer, RedisExplanationQuota
from app.runs.ledger import DayCaps
from app.runs.outbox import CallbackDelivery, CallbackPolicy
from app.runs.publishing import EffectPublisher
from app.runs.retention import delete_old_runs
from app.runs.worker import StepWorker, WorkerParts
from app.studio.assembly import build_agents
from app.studio.batch import answer_daily_batch, answer_manual_generation
from app.studio.cycle_document import answer_learning_cycle
from app.telemetry.metrics import Sources
from app.tools.builtin import register_builtin_tools
from app.workflows.spreads import NOTHING, Spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings
    from app.workflows.estimate import Estimate
    from app.workflows.model import Task, Workflow

OPERATIONS = {"chat": "chat", "embedding": "embeddings", "image": "generate_content", "video": "generate_content"}
SECONDS_AN_HOUR = 3600
CHARACTERS_A_TOKEN = 4
MILLION = 1_000_000


class Application(NounParts):
    """The composed system; parts connect when they are first used."""

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
    def health(self) -> Health:
        """How the system is."""
        return Health(self.engine, self.redis, self.studio_status, self.model_health)

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
        found = {name: self.registry.route(name, self.providers, today) for name in self.registry.models}
        routes = list(found.values())
        warnings = sorted({warning for route in routes for warning in route.warnings})
        targets = {(target.offer.provider, target.offer.model) for route in routes for target in route.targets}
        for breaker in read_open_breakers(self.redis_text, targets):
            what = f"{breaker.model} of {breaker.provider}" if breaker.model else breaker.provider
            warnings.append(f"{what} is not asked for {breaker.retry_in_s:.0f} s more: {breaker.reason}")
        available = sum(bool(found[name].targets) for name in found.keys() & self.registry.names)
        return available, [*warnings, *learned]

    def _scorer_problems(self) -> list[str]:
        try:
            return self.scorers.problems()
        except SQLAlchemyError:
            return []  # the database's own check says that it is away

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

    def make_worker(self, role: str) -> StepWorker:
        """Make this process's step worker; the caller starts and closes it."""
        engine = self.settings.engine
        policy = CallbackPolicy(
            engine.callback_allowed_hosts, engine.callback_secret, engine.callback_window_h * SECONDS_AN_HOUR
        )
        sender = CelerySender(self.celery)
        models = self.make_model_steps()
        quota = RedisExplanationQuota(self.loop_redis)

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
                policy=self.retry_policy(),
                companion=self.make_pooler if self.vendors.batch else None,
            )
        )


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
    application.answers.register(ASSIGNMENT_TRAINING, answer_training)
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
        application.answers.register(training.course.kind, answer_training)
    for name in settings.engine.extensions:
        importlib.import_module(name).register(application.handlers)
    return application
